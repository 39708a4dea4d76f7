SELECT CAST(coalesce(sum(d.n), 0) AS bigint)
FROM (
    SELECT r.org_no, r.substance_code, r.scheme, grams_filed(r.unit) IS NOT NULL AS known, count(*) AS n
    FROM environment.main.discharge AS r
    GROUP BY r.org_no, r.substance_code, r.scheme, grams_filed(r.unit) IS NOT NULL
) AS d
LEFT JOIN market.main.company_code AS c ON c.code = d.org_no
LEFT JOIN chemicals.main.substance AS t ON t.scheme = d.scheme AND t.code = d.substance_code
WHERE c.code IS NULL OR t.code IS NULL OR NOT d.known
