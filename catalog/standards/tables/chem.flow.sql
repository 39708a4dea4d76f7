-- The register sums by the codes it was given; market says which companies these are.
SELECT
    b.company,
    s.company AS partner,
    f.substance,
    f.year,
    CAST('bought' AS varchar) AS kind,
    f.year > year(b.valid_to) AS code_expired,
    f.grams
FROM (
    SELECT
        l.buyer,
        l.seller,
        t.cas AS substance,
        l.year,
        CAST(sum(l.qty * grams_per_unit(l.unit, l.density) * l.purity) AS bigint) AS grams
    FROM chemicals.main.purchase_line AS l
    JOIN chemicals.main.substance AS t ON t.scheme = l.scheme AND t.code = l.substance_code
    GROUP BY l.buyer, l.seller, t.cas, l.year
) AS f
JOIN market.main.company_code AS b ON b.code = f.buyer
LEFT JOIN market.main.company_code AS s ON s.code = f.seller
UNION ALL
SELECT
    i.company,
    CAST(NULL AS varchar) AS partner,
    f.substance,
    f.year,
    CAST('imported' AS varchar) AS kind,
    f.year > year(i.valid_to) AS code_expired,
    f.grams
FROM (
    SELECT
        l.importer,
        t.cas AS substance,
        l.year,
        CAST(sum(l.qty * grams_per_unit(l.unit, l.density) * l.purity) AS bigint) AS grams
    FROM chemicals.main.import_line AS l
    JOIN chemicals.main.substance AS t ON t.scheme = l.scheme AND t.code = l.substance_code
    GROUP BY l.importer, t.cas, l.year
) AS f
JOIN market.main.company_code AS i ON i.code = f.importer
UNION ALL
-- A filing of 31 December ends its year and begins the next.
SELECT
    o.company,
    CAST(NULL AS varchar) AS partner,
    f.substance,
    f.year + k.later AS year,
    CAST(k.kind AS varchar) AS kind,
    f.year + k.later > year(o.valid_to) AS code_expired,
    f.grams
FROM (
    SELECT
        l.org_no,
        t.cas AS substance,
        l.year,
        CAST(sum(l.qty * grams_filed(l.unit)) AS bigint) AS grams
    FROM chemicals.main.stock_filing AS l
    JOIN chemicals.main.substance AS t ON t.scheme = l.scheme AND t.code = l.substance_code
    GROUP BY l.org_no, t.cas, l.year
) AS f
CROSS JOIN (VALUES ('stock_end', 0), ('stock_begin', 1)) AS k (kind, later)
JOIN market.main.company_code AS o ON o.code = f.org_no
