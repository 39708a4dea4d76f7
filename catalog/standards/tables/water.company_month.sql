SELECT
    c.company,
    m.month,
    CAST(m.qty * litres_per_unit(m.unit, m.month) AS bigint) AS litres,
    m.quality
FROM water.main.company_month AS m
JOIN market.main.company_code AS c ON c.code = m.org_no
