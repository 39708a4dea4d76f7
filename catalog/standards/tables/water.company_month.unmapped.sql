SELECT CAST(coalesce(sum(m.n), 0) AS bigint)
FROM (
    SELECT w.org_no, litres_per_unit(w.unit, w.month) IS NOT NULL AS known, count(*) AS n
    FROM water.main.company_month AS w
    GROUP BY w.org_no, litres_per_unit(w.unit, w.month) IS NOT NULL
) AS m
LEFT JOIN market.main.company_code AS c ON c.code = m.org_no
WHERE c.code IS NULL OR NOT m.known
