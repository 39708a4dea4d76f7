SELECT
    c.company,
    o.product,
    p.role,
    p.substance_cas AS substance,
    o.year,
    p.unit,
    CAST(o.qty * product_units(o.unit, p.unit) AS decimal(18, 3)) AS qty,
    CAST(o.qty * product_units(o.unit, p.unit) * p.g_per_unit AS bigint) AS grams
FROM market.main.output AS o
JOIN market.main.product AS p ON p.product_code = o.product AND p.scheme_year = product_scheme(o.year)
JOIN market.main.company_code AS c ON c.code = o.company_code
