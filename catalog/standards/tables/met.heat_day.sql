SELECT h.district_code, h.day, h.heat, h.exposed
FROM environment.main.heat_day AS h
