-- sums of what a key of another department restricts
SELECT m.district, COUNT(*), SUM(m.factor) FROM water.main.meter m JOIN market.main.company c ON c.id = m.company
WHERE c.staff > 1 GROUP BY m.district;

-- the dearest of them alone (ordered)
SELECT r.meter_id, SUM(r.m3) AS m3 FROM water.main.reading r, market.main.company c WHERE r.company = c.id
AND c.district = 'south' GROUP BY r.meter_id ORDER BY m3 DESC, r.meter_id LIMIT 2;

-- HAVING that asks the same of all of them
SELECT r.company, SUM(r.m3) FROM water.main.reading r, market.main.company c WHERE r.company = c.id AND c.staff > 1
GROUP BY r.company HAVING SUM(r.m3) >= (SELECT SUM(x.m3) * 0.01 FROM water.main.reading x, market.main.company y
WHERE x.company = y.id AND y.staff > 1) ORDER BY r.company;

-- COUNT(*) in HAVING and in what it asks
SELECT m.district, COUNT(*) AS n FROM water.main.meter m JOIN market.main.company c ON c.id = m.company AND c.staff > 0
GROUP BY m.district HAVING COUNT(*) <= (SELECT COUNT(*) FROM water.main.reading r) ORDER BY n DESC, m.district;

-- the key itself is grouped by and shown
SELECT c.id, COUNT(*) AS n, MAX(m.factor) FROM water.main.meter m JOIN market.main.company c ON c.id = m.company
WHERE c.founded > DATE '2000-01-01' GROUP BY c.id;

-- another column of it is shown
SELECT c.name, COUNT(*) FROM water.main.meter m JOIN market.main.company c ON c.id = m.company WHERE c.staff > 1
GROUP BY c.name;

-- a column of it is read in a subquery
SELECT COUNT(*) FROM water.main.meter m JOIN market.main.company c ON c.id = m.company WHERE EXISTS (SELECT 1 FROM
water.main.reading r WHERE r.meter_id = m.id AND r.note = c.name);

-- it restricts by more than a key
SELECT COUNT(*) FROM water.main.meter m JOIN market.main.company c ON c.id = m.company AND c.district < m.district
WHERE c.staff > 1;

-- it restricts two columns
SELECT COUNT(*), SUM(r.m3) FROM water.main.reading r JOIN water.main.meter m ON m.id = r.meter_id
JOIN market.main.company c ON c.id = m.company AND c.id = r.company WHERE c.staff > 1;

-- it is no key
SELECT m.district, COUNT(*) FROM water.main.meter m JOIN market.main.company c ON c.parent = m.company
WHERE c.staff > 1 GROUP BY m.district;

-- several relations that join by keys
SELECT s.kg, COUNT(*) FROM chemicals.main.stock s, market.main.company c, market.main.company p
WHERE s.company = c.id AND c.parent = p.id AND p.staff > 1 GROUP BY s.kg;

-- two departments restrict a third
SELECT COUNT(*), SUM(a.days) FROM health.main.admission a JOIN market.main.company c ON c.id = a.company
JOIN water.main.meter m ON m.id = a.person WHERE c.staff > 1 AND m.factor > 0;

-- IN over another department, in sums
SELECT s.company, SUM(s.grams / 2) FROM chemicals.main.stock s WHERE s.company <> 'a1' AND s.company IN (SELECT m.company
FROM water.main.meter m WHERE m.district IS NOT NULL) GROUP BY s.company;

-- IN over another department, under a limit (ordered)
SELECT s.company, s.kg FROM chemicals.main.stock s WHERE s.company IN (SELECT m.company FROM water.main.meter m)
ORDER BY s.company, s.kg, s.year LIMIT 3;

-- NOT IN over another department is no set of keys
SELECT COUNT(*) FROM chemicals.main.stock s WHERE s.company NOT IN (SELECT m.company FROM water.main.meter m);

-- what may be missing restricts nothing
SELECT COUNT(*), COUNT(c.staff) FROM water.main.meter m LEFT JOIN market.main.company c ON c.id = m.company;

-- nothing is among the keys
SELECT COUNT(*), SUM(m.factor) FROM water.main.meter m JOIN market.main.company c ON c.id = m.company
WHERE c.name = 'nobody';

-- a smallest value of what is restricted, for each row
SELECT c.name, m.id FROM water.main.meter m JOIN market.main.company c ON c.id = m.company WHERE m.factor = (SELECT
MIN(x.factor) FROM water.main.meter x JOIN market.main.company y ON y.id = x.company WHERE x.company = m.company
AND y.staff > 1);

-- distinct rows of what is restricted
SELECT DISTINCT m.district FROM water.main.meter m JOIN market.main.company c ON c.id = m.company WHERE c.staff > 1;

-- a window over groups of what is restricted
SELECT m.district, COUNT(*), RANK() OVER (ORDER BY COUNT(*) DESC) FROM water.main.meter m
JOIN market.main.company c ON c.id = m.company WHERE c.staff > 0 GROUP BY m.district;

-- sums of what is restricted, joined with a third
SELECT w.beds, d.n FROM health.main.ward w JOIN (SELECT m.district, COUNT(*) AS n FROM water.main.meter m
JOIN market.main.company c ON c.id = m.company WHERE c.staff > 1 GROUP BY m.district) d ON d.district = w.district;

-- a count for each row, of what is restricted
SELECT a.person, a.days FROM health.main.admission a WHERE a.days < (SELECT COUNT(*) FROM water.main.meter m
JOIN market.main.company c ON c.id = m.company WHERE m.id = a.person);

-- a sum for each row, of what is restricted
SELECT w.id FROM health.main.ward w WHERE 1 < (SELECT COALESCE(SUM(m.factor), 2) FROM water.main.meter m
JOIN market.main.company c ON c.id = m.company WHERE m.district = w.district);

-- subtotals by the key and by what equals it are two
SELECT r.company, c.id, COUNT(*) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
WHERE c.staff > 3 GROUP BY ROLLUP (r.company, c.id);

-- sums of each and of none, by what equals the key
SELECT c.id, COUNT(*), SUM(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
WHERE c.staff > 3 GROUP BY GROUPING SETS ((c.id), ());

-- a window that reads the key by its name
SELECT DISTINCT c.id, SUM(r.m3) OVER w FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
WHERE c.staff > 3 WINDOW w AS (PARTITION BY c.id);

-- two conditions on what restricts
SELECT COUNT(*), SUM(m.factor) FROM water.main.meter m JOIN market.main.company c ON c.id = m.company
WHERE c.name = 'nobody' AND c.staff > 0;

-- a count beside a question for keys, for each row of another
SELECT m.district AS a, COUNT(*) AS n FROM water.main.meter m WHERE m.company IN (SELECT c.id FROM market.main.company c
WHERE c.staff > 1) GROUP BY m.district UNION ALL SELECT 'x', a.days FROM health.main.admission a WHERE a.days < (SELECT
COUNT(*) FROM water.main.meter m JOIN market.main.company c ON c.id = m.company WHERE m.id = a.person);
