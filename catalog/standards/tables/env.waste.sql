SELECT
    c.company,
    w.district_code,
    t.cas AS substance,
    w.year,
    w.grams,
    w.received_grams
FROM (
    SELECT
        m.sender_org,
        m.district_code,
        m.substance_code,
        m.scheme,
        m.year,
        CAST(sum(m.qty_kg * m.declared_mg_per_kg * grams_per_milligram()) AS bigint) AS grams,
        CAST(sum(m.qty_kg * m.receiver_mg_per_kg * grams_per_milligram()) AS bigint) AS received_grams
    FROM environment.main.waste AS m
    GROUP BY m.sender_org, m.district_code, m.substance_code, m.scheme, m.year
) AS w
JOIN market.main.company_code AS c ON c.code = w.sender_org
JOIN chemicals.main.substance AS t ON t.scheme = w.scheme AND t.code = w.substance_code
