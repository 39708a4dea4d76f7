-- Entries of the property register by year of purchase, owners under their 18-character id (see owner). The
-- column owner_id became owner_id_no in 2016, areas were floating-point numbers until 2018.
WITH entry AS (
    SELECT
        p.district AS district_code,
        CAST(year(p.bought_on) AS INTEGER) AS year,
        upper(trim(coalesce(*COLUMNS('^owner_id(_no)?$')))) AS id,
        p.area_m2
    FROM property AS p
),
seventeen AS (
    SELECT
        e.district_code,
        e.year,
        e.id,
        CASE WHEN length(e.id) = 15 THEN substr(e.id, 1, 6) || '19' || substr(e.id, 7) END AS body,
        e.area_m2
    FROM entry AS e
)
SELECT
    s.district_code,
    s.year,
    CASE
        WHEN s.body IS NULL THEN s.id
        ELSE s.body || substr('10X98765432', 1 + CAST(list_sum(list_transform(
            [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2],
            lambda weight, place: weight * CAST(substr(s.body, place, 1) AS INTEGER)
        )) % 11 AS BIGINT), 1)
    END AS owner_id,
    CAST(round(s.area_m2, 2) AS DECIMAL(10, 2)) AS area_m2
FROM seventeen AS s
