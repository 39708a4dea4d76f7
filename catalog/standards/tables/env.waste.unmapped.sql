SELECT CAST(coalesce(sum(w.n), 0) AS bigint)
FROM (
    SELECT m.sender_org, m.substance_code, m.scheme, count(*) AS n
    FROM environment.main.waste AS m
    GROUP BY m.sender_org, m.substance_code, m.scheme
) AS w
LEFT JOIN market.main.company_code AS c ON c.code = w.sender_org
LEFT JOIN chemicals.main.substance AS t ON t.scheme = w.scheme AND t.code = w.substance_code
WHERE c.code IS NULL OR t.code IS NULL
