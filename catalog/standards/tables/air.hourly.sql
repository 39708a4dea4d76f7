SELECT
    a.station_code,
    a.district_code,
    a.at,
    pollutant(a.pollutant) AS pollutant,
    CAST(a.value * air_factor(a.pollutant, a.unit, a.at) AS decimal(14, 6)) AS ug_m3,
    a.value IS NOT NULL AS valid,
    air_basis(a.pollutant, a.at) AS basis
FROM environment.main.air AS a
