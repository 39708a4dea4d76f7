-- Hospital stays: admissions of a person less than 24 hours apart are one stay; its first admission gives
-- id, year, district and cause. Times are epoch seconds (UTC) before 2016, local ISO texts since; here all
-- are local seconds. A person is the 18-character id, made of the old 15-digit form where that was written:
-- 19 inserted before the year of birth, the check character appended (GB 11643).
WITH written AS (
    SELECT
        adm_id,
        upper(replace(nfkc(person_id), ' ', '')) AS id,
        home_district,
        upper(replace(replace(icd10, '.', ''), ' ', '')) AS icd,
        CASE
            WHEN admitted_at GLOB '*-*' THEN CAST(strftime('%s', admitted_at) AS INTEGER)
            ELSE CAST(admitted_at AS INTEGER) + 28800
        END AS admitted,
        CASE
            WHEN discharged_at GLOB '*-*' THEN CAST(strftime('%s', discharged_at) AS INTEGER)
            ELSE CAST(discharged_at AS INTEGER) + 28800
        END AS discharged
    FROM admission
),
seventeen AS (
    SELECT
        adm_id,
        id,
        CASE WHEN length(id) = 15 THEN substr(id, 1, 6) || '19' || substr(id, 7) END AS body,
        home_district,
        icd,
        admitted,
        coalesce(discharged, admitted) AS discharged
    FROM written
),
known AS (
    SELECT
        adm_id,
        CASE
            WHEN body IS NULL THEN id
            ELSE body || substr('10X98765432', 1 + (
                substr(body, 1, 1) * 7 + substr(body, 2, 1) * 9 + substr(body, 3, 1) * 10
                + substr(body, 4, 1) * 5 + substr(body, 5, 1) * 8 + substr(body, 6, 1) * 4
                + substr(body, 7, 1) * 2 + substr(body, 8, 1) * 1 + substr(body, 9, 1) * 6
                + substr(body, 10, 1) * 3 + substr(body, 11, 1) * 7 + substr(body, 12, 1) * 9
                + substr(body, 13, 1) * 10 + substr(body, 14, 1) * 5 + substr(body, 15, 1) * 8
                + substr(body, 16, 1) * 4 + substr(body, 17, 1) * 2
            ) % 11, 1)
        END AS person,
        home_district,
        icd,
        admitted,
        discharged
    FROM seventeen
),
followed AS (
    SELECT
        adm_id,
        person,
        home_district,
        icd,
        admitted,
        max(discharged) OVER (
            PARTITION BY person ORDER BY admitted, adm_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS left_before
    FROM known
),
first_admission AS (
    SELECT
        f.adm_id,
        f.person,
        a.district_code AS district,
        f.icd,
        date(f.admitted, 'unixepoch') AS day
    FROM followed AS f
    LEFT JOIN district_alias AS a ON a.alias = f.home_district
    WHERE f.left_before IS NULL OR f.admitted - f.left_before >= 86400
)
SELECT
    f.adm_id AS stay_id,
    f.person,
    f.district,
    CAST(substr(f.day, 1, 4) AS INTEGER) AS year,
    CASE
        WHEN substr(f.icd, 1, 3) = 'T67' THEN 'T67'
        WHEN substr(f.icd, 1, 3) BETWEEN 'I00' AND 'I99' THEN 'CR'
        WHEN substr(f.icd, 1, 3) BETWEEN 'J00' AND 'J99' THEN 'CR'
        ELSE 'other'
    END AS cause_group,
    coalesce(h.exposed, 0) AS heat_exposed
FROM first_admission AS f
LEFT JOIN heat_calendar AS h ON h.district_code = f.district AND h.day = f.day
