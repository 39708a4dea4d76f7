SELECT d.district_code, d.parent_code, d.name, d.valid_from, d.valid_to
FROM market.main.district_history AS d
