-- Heat by district and day: a station of the district reached 35.0 degrees; exposed is who meets heat on that
-- day or one of the three before. Temperatures through 2015 were filed in tenths of a degree.
WITH warmest AS (
    SELECT
        s.district_code,
        CAST(m.time AS DATE) AS day,
        max(CASE WHEN m.time < TIMESTAMP '2016-01-01 00:00:00' THEN m.temp ELSE m.temp * 10 END) AS tenths
    FROM met AS m
    JOIN station AS s ON s.station_code = m.station_code
        AND CAST(m.time AS DATE) BETWEEN s.valid_from AND s.valid_to
    GROUP BY s.district_code, CAST(m.time AS DATE)
)
SELECT
    w.district_code,
    w.day,
    coalesce(w.tenths >= 350, false) AS heat,
    bool_or(coalesce(w.tenths >= 350, false)) OVER (
        PARTITION BY w.district_code ORDER BY w.day
        RANGE BETWEEN INTERVAL 3 DAYS PRECEDING AND CURRENT ROW
    ) AS exposed
FROM warmest AS w
