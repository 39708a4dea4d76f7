SELECT
    c.company,
    d.district_code,
    t.cas AS substance,
    d.year,
    CASE substr(d.period, 5, 2) WHEN '03' THEN 1 WHEN '06' THEN 2 WHEN '09' THEN 3 WHEN '12' THEN 4 END AS quarter,
    d.grams
FROM (
    SELECT
        r.org_no,
        r.district_code,
        r.substance_code,
        r.scheme,
        r.year,
        r.period,
        CAST(sum(r.qty * grams_filed(r.unit)) AS bigint) AS grams
    FROM environment.main.discharge AS r
    GROUP BY r.org_no, r.district_code, r.substance_code, r.scheme, r.year, r.period
) AS d
JOIN market.main.company_code AS c ON c.code = d.org_no
JOIN chemicals.main.substance AS t ON t.scheme = d.scheme AND t.code = d.substance_code
