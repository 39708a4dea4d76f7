-- Weather by station and hour; temperatures through 2015 were filed in tenths of a degree. The district is
-- the one in which the station stood at that hour.
SELECT
    m.station_code,
    s.district_code,
    m.time AS at,
    CASE
        WHEN m.time < TIMESTAMP '2016-01-01 00:00:00' THEN CAST(m.temp * CAST(0.1 AS DECIMAL(2, 1)) AS DECIMAL(5, 1))
        ELSE CAST(m.temp AS DECIMAL(5, 1))
    END AS temp_c,
    m.rh,
    m.wind
FROM met AS m
JOIN station AS s ON s.station_code = m.station_code
    AND CAST(m.time AS DATE) BETWEEN s.valid_from AND s.valid_to
