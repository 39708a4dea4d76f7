SELECT s.station_code, s.district_code, s.valid_from, s.valid_to
FROM environment.main.station AS s
