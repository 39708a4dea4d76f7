SELECT count(*)
FROM market.main.output AS o
LEFT JOIN market.main.product AS p ON p.product_code = o.product AND p.scheme_year = product_scheme(o.year)
LEFT JOIN market.main.company_code AS c ON c.code = o.company_code
WHERE p.product_code IS NULL
    OR product_units(o.unit, p.unit) IS NULL
    OR c.code IS NULL
