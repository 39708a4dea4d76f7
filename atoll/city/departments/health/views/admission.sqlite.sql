-- Admissions as they were made, with one form of person, district, time and ICD code (see stay).
-- icd3 is the whole code without its dot, age in full years of the calendar: the grant coarsens both.
WITH written AS (
    SELECT
        upper(replace(nfkc(person_id), ' ', '')) AS id,
        birth_year,
        home_district,
        upper(replace(replace(icd10, '.', ''), ' ', '')) AS icd,
        ward,
        CASE
            WHEN admitted_at GLOB '*-*' THEN CAST(substr(admitted_at, 1, 4) AS INTEGER)
            ELSE CAST(strftime('%Y', CAST(admitted_at AS INTEGER) + 28800, 'unixepoch') AS INTEGER)
        END AS year
    FROM admission
),
seventeen AS (
    SELECT
        id,
        CASE WHEN length(id) = 15 THEN substr(id, 1, 6) || '19' || substr(id, 7) END AS body,
        birth_year,
        home_district,
        icd,
        ward,
        year
    FROM written
)
SELECT
    CASE
        WHEN s.body IS NULL THEN s.id
        ELSE s.body || substr('10X98765432', 1 + (
            substr(s.body, 1, 1) * 7 + substr(s.body, 2, 1) * 9 + substr(s.body, 3, 1) * 10
            + substr(s.body, 4, 1) * 5 + substr(s.body, 5, 1) * 8 + substr(s.body, 6, 1) * 4
            + substr(s.body, 7, 1) * 2 + substr(s.body, 8, 1) * 1 + substr(s.body, 9, 1) * 6
            + substr(s.body, 10, 1) * 3 + substr(s.body, 11, 1) * 7 + substr(s.body, 12, 1) * 9
            + substr(s.body, 13, 1) * 10 + substr(s.body, 14, 1) * 5 + substr(s.body, 15, 1) * 8
            + substr(s.body, 16, 1) * 4 + substr(s.body, 17, 1) * 2
        ) % 11, 1)
    END AS person,
    a.district_code AS district,
    s.year,
    s.ward,
    s.icd AS icd3,
    s.year - s.birth_year AS age
FROM seventeen AS s
LEFT JOIN district_alias AS a ON a.alias = s.home_district
