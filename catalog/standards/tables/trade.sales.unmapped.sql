SELECT count(*)
FROM market.main.partner_sales AS x
LEFT JOIN market.main.product AS p ON p.product_code = x.product AND p.scheme_year = product_scheme(x.year)
LEFT JOIN market.main.company_code AS s ON s.code = x.seller
LEFT JOIN market.main.company_code AS b ON b.code = x.buyer
WHERE p.product_code IS NULL
    OR product_units(x.unit, p.unit) IS NULL
    OR s.code IS NULL
    OR b.code IS NULL
