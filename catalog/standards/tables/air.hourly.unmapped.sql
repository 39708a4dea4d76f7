SELECT count(*)
FROM environment.main.air AS a
WHERE pollutant(a.pollutant) IS NULL
    OR air_basis(a.pollutant, a.at) IS NULL
    OR air_factor(a.pollutant, a.unit, a.at) IS NULL
