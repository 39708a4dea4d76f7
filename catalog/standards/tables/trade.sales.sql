SELECT
    s.company AS seller,
    b.company AS buyer,
    p.substance_cas AS substance,
    x.year,
    CAST(x.qty * product_units(x.unit, p.unit) * p.g_per_unit AS bigint) AS grams
FROM market.main.partner_sales AS x
JOIN market.main.product AS p ON p.product_code = x.product AND p.scheme_year = product_scheme(x.year)
JOIN market.main.company_code AS s ON s.code = x.seller
LEFT JOIN market.main.company_code AS b ON b.code = x.buyer
WHERE p.substance_cas IS NOT NULL
