SELECT
    b.industry_std,
    b.industry_code,
    b.unit,
    CAST(b.lo_l AS decimal(12, 3)) AS lo_l,
    CAST(b.hi_l AS decimal(12, 3)) AS hi_l
FROM water.main.band AS b
UNION ALL
SELECT
    '2011' AS industry_std,
    i.code_2011 AS industry_code,
    b.unit,
    CAST(min(b.lo_l) AS decimal(12, 3)) AS lo_l,
    CAST(max(b.hi_l) AS decimal(12, 3)) AS hi_l
FROM water.main.band AS b
JOIN market.main.industry_map AS i ON i.code_2017 = b.industry_code
WHERE b.industry_std = '2017'
GROUP BY i.code_2011, b.unit
