-- title: Hospital load and heat
-- purpose: public-health
-- user: chen
--
-- How many stays for heat (T67) and for heart and lungs (CR) began on days that a heat wave reached, and how
-- many days were there of each sort? Health gives counts only, none under ten persons: such a cell stays NULL.
WITH
day AS (
    SELECT district_code, CAST(year(day) AS integer) AS year, exposed, count(*) AS days
    FROM city.met.heat_day
    GROUP BY district_code, CAST(year(day) AS integer), exposed
),
stay AS (
    SELECT district, year, cause_group, heat_exposed, count(*) AS stays
    FROM health.main.stay
    GROUP BY district, year, cause_group, heat_exposed
)
SELECT
    d.district_code AS district,
    d.year,
    CAST(c.cause_group AS varchar) AS cause_group,
    d.exposed,
    d.days,
    s.stays
FROM day AS d
CROSS JOIN (VALUES 'T67', 'CR') AS c (cause_group)
LEFT JOIN stay AS s
    ON s.district = d.district_code
    AND s.year = d.year
    AND s.cause_group = c.cause_group
    AND s.heat_exposed = d.exposed
ORDER BY d.district_code, d.year, c.cause_group, d.exposed
