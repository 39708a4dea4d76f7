-- title: Air, month by month
-- purpose: statistics
-- user: bi
--
-- Monthly means of every pollutant in every district, in one unit. A mean stands only where three quarters of
-- the hours were measured. On 1 September 2018 particles changed their reference conditions: `basis` says which
-- hold, and a series with two bases has its break there.
WITH cell AS (
    SELECT
        district_code,
        CAST(date_trunc('month', at) AS date) AS month,
        pollutant,
        basis,
        sum(ug_m3) AS total,
        count(ug_m3) AS n_valid,
        count(*) AS n_total
    FROM city.air.hourly
    GROUP BY district_code, CAST(date_trunc('month', at) AS date), pollutant, basis
)
SELECT
    district_code,
    month,
    pollutant,
    CASE WHEN n_valid * 100 >= 75 * n_total THEN CAST(round(total / n_valid, 1) AS decimal(9, 1)) END AS mean,
    n_valid,
    n_total,
    basis,
    CAST(CASE WHEN n_valid * 100 >= 75 * n_total THEN 'ok' ELSE 'insufficient' END AS varchar) AS flag
FROM cell
ORDER BY district_code, month, pollutant, basis
