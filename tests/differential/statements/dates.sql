-- a year later
SELECT id, installed FROM water.main.meter WHERE installed >= DATE '2019-02-28' + INTERVAL '1' YEAR AND installed <
DATE '2020-12-31' + INTERVAL '1' DAY;

-- a month later is the last of a shorter one
SELECT id FROM water.main.meter WHERE installed = DATE '2020-01-31' + INTERVAL '1' MONTH OR installed =
date_add('month', -2, DATE '2020-04-30') - INTERVAL '1' DAY OR installed = DATE '2020-03-31' - INTERVAL '1' MONTH;

-- the first of a week, a quarter, a year
SELECT r.company, c.name, date_trunc('week', DATE '2023-12-31') AS w FROM water.main.reading r JOIN market.main.company c
ON c.id = r.company WHERE r.month >= date_trunc('week', DATE '2024-01-07') AND r.month < date_trunc('quarter',
DATE '2024-05-31') AND r.month <> date_trunc('year', DATE '2024-12-31');

-- months and days one after the other
SELECT id FROM water.main.meter WHERE installed = (DATE '2020-03-30' - INTERVAL '1' MONTH) OR installed =
DATE '2020-01-01' - INTERVAL '1' DAY OR installed > DATE '2023-12-31' + INTERVAL '-2' WEEK;

-- a day of hours later
SELECT id FROM water.main.meter WHERE installed < DATE '2020-01-01' + INTERVAL '72' HOUR;
