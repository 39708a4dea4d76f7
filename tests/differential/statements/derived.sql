-- a condition above a projection
SELECT d.k, c.name FROM (SELECT company AS k, m3 * 2 AS v FROM water.main.reading) d
JOIN market.main.company c ON c.id = d.k WHERE d.v > 10;

-- a condition above a limit stays above
SELECT d.id, m.id FROM (SELECT id, staff FROM market.main.company ORDER BY id, name LIMIT 3) d
JOIN water.main.meter m ON m.company = d.id WHERE d.staff = 10;

-- a condition above an offset stays above
SELECT d.id, m.id FROM (SELECT id, staff FROM market.main.company ORDER BY id, name OFFSET 2) d
JOIN water.main.meter m ON m.company = d.id WHERE d.id > 'A1';

-- a condition above fetch first stays above
SELECT d.id, m.id FROM (SELECT id, staff FROM market.main.company ORDER BY id, name FETCH FIRST 3 ROWS ONLY) d
JOIN water.main.meter m ON m.company = d.id WHERE d.staff = 10;

-- a condition above a window stays above
SELECT d.company, d.n, c.name FROM
  (SELECT company, ROW_NUMBER() OVER (ORDER BY month NULLS LAST, company, meter_id, m3, note) AS n FROM water.main.reading) d
JOIN market.main.company c ON c.id = d.company WHERE d.n <= 5 AND d.company > 'A1';

-- a condition on the partition of a window
SELECT d.company, d.n, c.name FROM
  (SELECT company, m3, SUM(m3) OVER (PARTITION BY company) AS n FROM water.main.reading) d
JOIN market.main.company c ON c.id = d.company WHERE d.company = 'A1' AND d.m3 > 0;

-- a condition on a grouping key goes down
SELECT d.company, d.total, c.name FROM
  (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company) d
JOIN market.main.company c ON c.id = d.company WHERE d.company <> 'A1';

-- a condition on an aggregate stays above
SELECT d.company, d.total, c.name FROM
  (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company) d
JOIN market.main.company c ON c.id = d.company WHERE d.total > 5;

-- a condition on a key and an aggregate together stays above
SELECT d.company, c.name FROM
  (SELECT company, month, COUNT(*) AS n FROM water.main.reading GROUP BY company, month) d
JOIN market.main.company c ON c.id = d.company WHERE d.n > 1 OR d.month = DATE '2024-01-01';

-- a condition above an aggregation without groups
SELECT d.n, c.id FROM (SELECT COUNT(*) AS n FROM water.main.tariff) d
JOIN market.main.company c ON c.staff >= d.n WHERE d.n = 0;

-- a condition above an aggregation without groups that no row meets
SELECT d.n FROM (SELECT COUNT(*) AS n, MAX(company) AS m FROM water.main.reading) d CROSS JOIN health.main.ward w
WHERE d.m = 'nobody';

-- a condition on a rollup key stays above
SELECT d.company, d.total FROM
  (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY ROLLUP (company)) d
JOIN market.main.company c ON c.staff = 10 WHERE d.company IS NULL;

-- a condition above DISTINCT
SELECT d.company, d.note, c.name FROM (SELECT DISTINCT company, note FROM water.main.reading) d
JOIN market.main.company c ON c.id = d.company WHERE d.note = 'x';

-- DISTINCT keeps outputs that nobody reads
SELECT d.company FROM (SELECT DISTINCT company, note, flag FROM water.main.reading) d
JOIN market.main.company c ON c.id = d.company;

-- order by in a derived table, by an output that nobody reads
SELECT d.id FROM (SELECT id, name, staff FROM market.main.company ORDER BY staff DESC NULLS LAST, name, id LIMIT 3) d
JOIN water.main.meter m ON m.company = d.id;

-- order by position in a derived table, by an output that nobody reads
SELECT d.id FROM (SELECT founded, id, name, staff FROM market.main.company ORDER BY 4 DESC NULLS LAST, 3, 2 LIMIT 3) d
JOIN water.main.meter m ON m.company = d.id;

-- order by an alias in a derived table, by an output that nobody reads
SELECT d.id FROM (SELECT id, COALESCE(staff, 0) * -1 AS worth, name AS n FROM market.main.company ORDER BY worth, n, id LIMIT 3) d
JOIN water.main.meter m ON m.company = d.id;

-- nothing of a derived table is read
SELECT c.id FROM market.main.company c CROSS JOIN (SELECT company, m3 FROM water.main.reading) d;

-- nothing of an aggregation without groups is read
SELECT c.id FROM market.main.company c CROSS JOIN (SELECT COUNT(*) AS n, MAX(price) AS m FROM water.main.tariff) d;

-- nothing of an aggregation with groups is read
SELECT c.id FROM market.main.company c CROSS JOIN (SELECT company, COUNT(*) AS n FROM water.main.reading GROUP BY company) d;

-- only an aggregate of a derived table is read
SELECT d.n FROM (SELECT company, note, COUNT(*) AS n FROM water.main.reading GROUP BY company, note) d
CROSS JOIN health.main.ward w;

-- only a key of a derived table is read
SELECT d.company FROM (SELECT company, note, COUNT(*) AS n FROM water.main.reading GROUP BY company, note) d
CROSS JOIN health.main.ward w;

-- derived tables three deep
SELECT x.k FROM (SELECT y.k FROM (SELECT z.company AS k, z.m3 FROM
  (SELECT company, m3 FROM water.main.reading WHERE flag) z WHERE z.m3 > 0) y WHERE y.k <> 'B2') x
JOIN market.main.company c ON c.id = x.k;

-- renamed columns
SELECT d.a, d.b FROM (SELECT company, m3 FROM water.main.reading) AS d (b, a) JOIN market.main.company c ON c.id = d.b
WHERE d.a > 1;

-- a derived table over two departments with a limit (ordered)
SELECT d.id, d.m3, w.id FROM
  (SELECT c.id, c.district, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
   ORDER BY r.m3 DESC NULLS LAST, c.id, c.name, r.month LIMIT 5) d
LEFT JOIN health.main.ward w ON w.district = d.district ORDER BY d.m3 DESC, d.id, w.id;

-- having in a derived table
SELECT d.company, c.name FROM
  (SELECT company, COUNT(*) AS n FROM water.main.reading GROUP BY company HAVING COUNT(*) > 1) d
JOIN market.main.company c ON c.id = d.company WHERE d.n < 5;

-- group by in a derived table, by what is not shown
SELECT d.n, c.id FROM (SELECT COUNT(*) AS n FROM water.main.reading GROUP BY company) d
JOIN market.main.company c ON c.staff = d.n * 5;

-- a constant output restricted above
SELECT d.src, c.id FROM (SELECT 'water' AS src, company FROM water.main.meter) d
JOIN market.main.company c ON c.id = d.company WHERE d.src = 'water';

-- a constant output that excludes everything
SELECT d.src, c.id FROM (SELECT 'water' AS src, company FROM water.main.meter) d
JOIN market.main.company c ON c.id = d.company WHERE d.src = 'health';

-- duplicate rows stay in a derived table
SELECT d.company, d.substance FROM (SELECT company, substance FROM chemicals.main.stock) d
JOIN water.main.meter m ON m.company = d.company;

-- NULLs of a computed key
SELECT d.k, c.id FROM (SELECT NULLIF(company, 'A1') AS k, m3 FROM water.main.reading) d
LEFT JOIN market.main.company c ON c.id = d.k;

-- a subquery among the outputs of a derived table
SELECT d.id, d.most FROM
  (SELECT c.id, (SELECT MAX(m3) FROM water.main.reading) AS most FROM market.main.company c) d
JOIN water.main.meter m ON m.company = d.id WHERE d.most > 1;

-- two outputs of one name, neither read
SELECT d.kg FROM (SELECT m.*, s.* FROM water.main.meter m JOIN chemicals.main.stock s ON s.company = m.company) d;

-- a condition that multiplies what is a sum inside
SELECT d.v, c.id FROM (SELECT company, year + 1 AS v FROM chemicals.main.stock) d
JOIN market.main.company c ON c.id = d.company WHERE d.v * 2 = 4050;

-- a condition that negates what is a disjunction inside
SELECT d.company, c.id FROM (SELECT company, flag OR m3 > 5 AS v FROM water.main.reading) d
JOIN market.main.company c ON c.id = d.company WHERE NOT d.v;

-- a condition on two columns of a derived table, joined by OR
SELECT d.company, c.id FROM (SELECT company, m3 AS v, note AS n FROM water.main.reading WHERE flag IS NOT NULL) d
JOIN market.main.company c ON c.id = d.company WHERE d.v > 5 OR d.n = 'x';

-- only a constant of an aggregation without groups is read
SELECT d.one, w.id FROM (SELECT 1 AS one, COUNT(*) AS n FROM water.main.reading) d CROSS JOIN health.main.ward w;

-- only a constant of an aggregation without groups over nothing is read
SELECT d.one, w.id FROM (SELECT 1 AS one, COUNT(*) AS n FROM water.main.tariff) d CROSS JOIN health.main.ward w;
