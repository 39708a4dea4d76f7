-- Air by station, hour and pollutant: the wide files unpivoted, the numbers that stand for "missing" turned
-- into NULL (the texts already are), the later of two uploads (higher file_seq), and the district in which the
-- station stood at that hour: the district in the file's name lags behind.
WITH filed AS NOT MATERIALIZED (
    SELECT a.station_code, a.time, a.pollutant, a.value, a.unit, a.file_seq
    FROM air AS a
    UNION ALL
    SELECT
        w.station_code,
        w.time,
        w.pollutant,
        w.value,
        CASE WHEN w.pollutant = 'CO' THEN 'mg/m3' ELSE 'ug/m3' END AS unit,
        w.file_seq
    FROM air_wide UNPIVOT INCLUDE NULLS (
        value FOR pollutant IN (pm25 AS 'PM2.5', pm10 AS 'PM10', so2 AS 'SO2', no2 AS 'NO2', o3 AS 'O3', co AS 'CO')
    ) AS w
),
-- few hours are uploaded again: only what is in no first upload can be the later one
again AS (
    SELECT f.station_code, f.time, f.pollutant, max(f.file_seq) AS file_seq
    FROM filed AS f
    WHERE f.file_seq > (SELECT min(g.file_seq) FROM filed AS g)
    GROUP BY f.station_code, f.time, f.pollutant
)
SELECT
    f.station_code,
    s.district_code,
    f.time AS at,
    f.pollutant,
    nullif(nullif(f.value, -99), 9999) AS value,
    f.unit
FROM filed AS f
JOIN station AS s
    ON s.station_code = f.station_code
    AND f.time >= s.valid_from
    AND CAST(f.time AS DATE) <= s.valid_to
LEFT JOIN again AS l
    ON l.station_code = f.station_code AND l.time = f.time AND l.pollutant = f.pollutant
WHERE l.file_seq IS NULL OR f.file_seq >= l.file_seq
