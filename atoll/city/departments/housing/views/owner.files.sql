-- Who owns a home now: the 18-character id of everybody who holds a share of one that is not sold. Old
-- 15-digit ids are completed: 19 before the year of birth, the check character at the end (GB 11643).
WITH holder AS (
    SELECT DISTINCT upper(trim(coalesce(*COLUMNS('^owner_id(_no)?$')))) AS id
    FROM property AS p
    WHERE p.sold_on IS NULL AND p.share_bp > 0
),
seventeen AS (
    SELECT h.id, CASE WHEN length(h.id) = 15 THEN substr(h.id, 1, 6) || '19' || substr(h.id, 7) END AS body
    FROM holder AS h
)
SELECT DISTINCT
    CASE
        WHEN s.body IS NULL THEN s.id
        ELSE s.body || substr('10X98765432', 1 + CAST(list_sum(list_transform(
            [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2],
            lambda weight, place: weight * CAST(substr(s.body, place, 1) AS INTEGER)
        )) % 11 AS BIGINT), 1)
    END AS person
FROM seventeen AS s
