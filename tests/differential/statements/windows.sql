-- rank within groups of another department
SELECT c.district, r.company, r.m3, RANK() OVER (PARTITION BY c.district ORDER BY r.m3 DESC NULLS LAST) AS n
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company;

-- running sum over a join
SELECT r.company, r.month, SUM(r.m3) OVER (PARTITION BY r.company ORDER BY r.month NULLS LAST, c.name, r.meter_id
  ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
WHERE r.company <> 'A1';

-- share of a total
SELECT c.id, c.staff, SUM(c.staff) OVER () FROM market.main.company c JOIN water.main.meter m ON m.company = c.id;

-- a window over aggregates of a join
SELECT c.district, SUM(r.m3), RANK() OVER (ORDER BY SUM(r.m3) DESC NULLS LAST), SUM(SUM(r.m3)) OVER ()
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- the first row of each group
SELECT d.company, d.m3, c.name FROM (SELECT company, m3, ROW_NUMBER() OVER (PARTITION BY company ORDER BY m3 DESC NULLS LAST, note) AS n
  FROM water.main.reading) d JOIN market.main.company c ON c.id = d.company WHERE d.n = 1;

-- the first row of each group over two departments
SELECT d.id, d.m3 FROM (SELECT c.id, r.m3, ROW_NUMBER() OVER (PARTITION BY c.id ORDER BY r.m3 DESC NULLS LAST) AS n
  FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id) d WHERE d.n = 1 AND d.id > 'A';

-- lag and lead
SELECT r.company, r.month, r.m3 - LAG(r.m3) OVER (PARTITION BY r.company ORDER BY r.month, r.note) FROM water.main.reading r
JOIN market.main.code k ON k.company = r.company AND k.code = 201;

-- a window over a union
SELECT u.k, COUNT(*) OVER (PARTITION BY u.k) FROM (SELECT id AS k FROM market.main.company UNION ALL SELECT company FROM water.main.meter) u;

-- windows in one department, numbered before the join restricts
SELECT c.id, d.n FROM market.main.company c
JOIN (SELECT company, ROW_NUMBER() OVER (ORDER BY company, month, m3, note, meter_id) AS n FROM water.main.reading) d ON d.company = c.id
WHERE c.id > 'B';

-- a window in a left join's right side
SELECT c.id, d.n FROM market.main.company c
LEFT JOIN (SELECT company, COUNT(*) OVER () AS n FROM water.main.reading) d ON d.company = c.id WHERE c.staff = 10;

-- distinct over a window
SELECT DISTINCT c.district, COUNT(*) OVER (PARTITION BY c.district) FROM market.main.company c JOIN water.main.meter m ON m.company = c.id;

-- order by a window (ordered)
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
ORDER BY COUNT(*) OVER (PARTITION BY c.id) DESC, c.id, m.id, c.name;
