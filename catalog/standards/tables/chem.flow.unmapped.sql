SELECT CAST(coalesce(sum(f.n), 0) AS bigint)
FROM (
    SELECT
        l.buyer AS code,
        l.seller AS partner,
        t.cas IS NOT NULL AND grams_per_unit(l.unit, l.density) IS NOT NULL AS known,
        count(*) AS n
    FROM chemicals.main.purchase_line AS l
    LEFT JOIN chemicals.main.substance AS t ON t.scheme = l.scheme AND t.code = l.substance_code
    GROUP BY l.buyer, l.seller, t.cas IS NOT NULL AND grams_per_unit(l.unit, l.density) IS NOT NULL
    UNION ALL
    SELECT
        l.importer AS code,
        CAST(NULL AS varchar) AS partner,
        t.cas IS NOT NULL AND grams_per_unit(l.unit, l.density) IS NOT NULL AS known,
        count(*) AS n
    FROM chemicals.main.import_line AS l
    LEFT JOIN chemicals.main.substance AS t ON t.scheme = l.scheme AND t.code = l.substance_code
    GROUP BY l.importer, t.cas IS NOT NULL AND grams_per_unit(l.unit, l.density) IS NOT NULL
    UNION ALL
    SELECT
        l.org_no AS code,
        CAST(NULL AS varchar) AS partner,
        t.cas IS NOT NULL AND grams_filed(l.unit) IS NOT NULL AS known,
        count(*) AS n
    FROM chemicals.main.stock_filing AS l
    LEFT JOIN chemicals.main.substance AS t ON t.scheme = l.scheme AND t.code = l.substance_code
    GROUP BY l.org_no, t.cas IS NOT NULL AND grams_filed(l.unit) IS NOT NULL
) AS f
LEFT JOIN market.main.company_code AS c ON c.code = f.code
LEFT JOIN market.main.company_code AS p ON p.code = f.partner
WHERE c.code IS NULL OR (p.code IS NULL AND f.partner IS NOT NULL) OR NOT f.known
