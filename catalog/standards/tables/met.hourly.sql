SELECT m.station_code, m.district_code, m.at, m.temp_c, m.rh, m.wind
FROM environment.main.met AS m
