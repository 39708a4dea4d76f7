-- a CTE used once
WITH wet AS (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company)
SELECT c.id, wet.total FROM market.main.company c JOIN wet ON wet.company = c.id;

-- a CTE used twice
WITH wet AS (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company)
SELECT a.company, b.company FROM wet a JOIN wet b ON b.total > a.total JOIN market.main.company c ON c.id = a.company;

-- a CTE over two departments, used twice
WITH pairs AS (SELECT c.id, c.district, m.id AS meter FROM market.main.company c JOIN water.main.meter m ON m.company = c.id)
SELECT a.id, b.meter FROM pairs a JOIN pairs b ON b.district = a.district WHERE a.id = 'A1';

-- a CTE used twice, each use restricted differently
WITH r AS (SELECT company, month, m3 FROM water.main.reading)
SELECT a.m3, b.m3 FROM r a JOIN r b ON b.company = a.company JOIN market.main.company c ON c.id = a.company
WHERE a.m3 > 5 AND b.m3 < 5;

-- a CTE with a limit, used twice with different conditions
WITH top AS (SELECT id, name, staff FROM market.main.company ORDER BY staff DESC NULLS LAST, id, name LIMIT 3)
SELECT a.id, b.id FROM top a JOIN top b ON a.staff >= b.staff JOIN water.main.meter m ON m.company = a.id
WHERE a.id < 'B' AND b.id > 'B';

-- a CTE with a limit, used once, filtered above
WITH top AS (SELECT id, staff FROM market.main.company ORDER BY staff DESC NULLS LAST, id LIMIT 2)
SELECT t.id, m.id FROM top t JOIN water.main.meter m ON m.company = t.id WHERE t.id = 'A1';

-- CTEs in a chain
WITH a AS (SELECT company, m3 FROM water.main.reading WHERE m3 > 0),
     b AS (SELECT company, SUM(m3) AS total FROM a GROUP BY company),
     c AS (SELECT b.company, b.total, k.code FROM b JOIN market.main.code k ON k.company = b.company)
SELECT * FROM c WHERE total < 1000;

-- nested WITH
WITH outside AS (
  WITH inside AS (SELECT company, kg FROM chemicals.main.stock WHERE kg > 0)
  SELECT inside.company, m.id FROM inside JOIN water.main.meter m ON m.company = inside.company)
SELECT c.name, outside.id FROM outside JOIN market.main.company c ON c.id = outside.company;

-- an inner WITH shadows an outer one
WITH w AS (SELECT id AS k FROM market.main.company)
SELECT x.k, y.k FROM (WITH w AS (SELECT company AS k FROM water.main.meter) SELECT k FROM w) x JOIN w y ON y.k = x.k;

-- an inner WITH of the same name reads the outer one
WITH w AS (SELECT id AS k, district FROM market.main.company)
SELECT z.k FROM (WITH w AS (SELECT w.k FROM w JOIN water.main.meter m ON m.company = w.k) SELECT k FROM w) z
JOIN w ON w.k = z.k;

-- names that the planner uses itself: w1 before w0
WITH w1 AS (SELECT id FROM market.main.company), w0 AS (SELECT company FROM water.main.meter)
SELECT w1.id, w0.company FROM w1 JOIN w0 ON w0.company = w1.id;

-- names that the planner uses itself: w1 and w0, each used twice
WITH w1 AS (SELECT id FROM market.main.company), w0 AS (SELECT company FROM water.main.meter)
SELECT a.id, b.company FROM w1 a JOIN w0 b ON b.company = a.id JOIN w1 c ON c.id = b.company JOIN w0 d ON d.company = c.id;

-- names that the planner uses itself: t1 before t0
SELECT t1.id, t0.m3 FROM market.main.company t1 JOIN water.main.reading t0 ON t0.company = t1.id WHERE t0.m3 > 1;

-- names that the planner uses itself: f0, f1, c0, u
WITH f1 AS (SELECT id AS c1, name AS c0 FROM market.main.company), f0 AS (SELECT company AS c0 FROM water.main.meter)
SELECT f1.c0, u.c0 FROM f1 JOIN f0 u ON u.c0 = f1.c1;

-- a CTE with column names
WITH k (who, how_much) AS (SELECT company, SUM(m3) FROM water.main.reading GROUP BY company)
SELECT c.id, k.how_much FROM market.main.company c JOIN k ON k.who = c.id;

-- a set operation in a CTE with column names
WITH k (who, place) AS (SELECT id, district FROM market.main.company UNION ALL SELECT company, district FROM water.main.meter)
SELECT k.place, k.who, a.person FROM k JOIN health.main.admission a ON a.company = k.who;

-- a CTE with swapped column names
WITH k (company, district) AS (SELECT district, company FROM water.main.meter)
SELECT k.company, k.district FROM k JOIN market.main.company c ON c.id = k.district;

-- an unused CTE
WITH unused AS (SELECT id FROM health.main.ward), used AS (SELECT company FROM water.main.meter)
SELECT c.id FROM market.main.company c JOIN used ON used.company = c.id;

-- a CTE used in a subquery only
WITH big AS (SELECT company FROM water.main.reading WHERE m3 > 5)
SELECT c.id FROM market.main.company c WHERE c.id IN (SELECT company FROM big);

-- a CTE used in FROM and in a subquery
WITH s AS (SELECT company, kg FROM chemicals.main.stock)
SELECT s.company, c.name FROM s JOIN market.main.company c ON c.id = s.company WHERE s.kg >= (SELECT AVG(kg) FROM s);

-- a CTE in a correlated subquery
WITH r AS (SELECT company, m3 FROM water.main.reading)
SELECT c.id, (SELECT MAX(r.m3) FROM r WHERE r.company = c.id) AS most FROM market.main.company c;

-- a CTE in both arms of a union
WITH r AS (SELECT company, m3 FROM water.main.reading)
SELECT company FROM r WHERE m3 > 5 UNION ALL SELECT r.company FROM r JOIN market.main.company c ON c.id = r.company;

-- a CTE with a window, used twice
WITH ranked AS (SELECT company, m3, ROW_NUMBER() OVER (ORDER BY m3 DESC NULLS LAST, company, month, note) AS n FROM water.main.reading)
SELECT a.n, b.n, c.id FROM ranked a JOIN ranked b ON b.n = a.n + 1 JOIN market.main.company c ON c.id = a.company
WHERE a.n <= 3;

-- WITH under ORDER BY and LIMIT (ordered)
WITH r AS (SELECT company, m3 FROM water.main.reading WHERE m3 IS NOT NULL)
SELECT r.company, r.m3, c.name FROM r JOIN market.main.company c ON c.id = r.company
ORDER BY r.m3 DESC, r.company, c.name LIMIT 3;

-- the greatest of one department's sums, joined to another
WITH s AS (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company)
SELECT c.name, s.total FROM s JOIN market.main.company c ON c.id = s.company WHERE s.total = (SELECT MAX(total) FROM s);

-- more than the mean of one department's sums, with a condition beside it
WITH s AS (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company)
SELECT c.name, s.total FROM s JOIN market.main.company c ON c.id = s.company
WHERE s.total < (SELECT AVG(total) FROM s) AND s.company <> 'B2';

-- one department's sums where they are among its own, correlated
WITH s AS (SELECT company, month, SUM(m3) AS total FROM water.main.reading GROUP BY company, month)
SELECT c.name, s.month, s.total FROM s JOIN market.main.company c ON c.id = s.company
WHERE s.total >= (SELECT MAX(o.total) FROM s o WHERE o.company = s.company);

-- one department's sums that have no equal among them
WITH s AS (SELECT company, month, SUM(m3) AS total FROM water.main.reading GROUP BY company, month)
SELECT c.name, s.month FROM s JOIN market.main.company c ON c.id = s.company
WHERE NOT EXISTS (SELECT 1 FROM s o WHERE o.total = s.total AND o.month <> s.month);

-- one department's sums, null-extended, and asked about themselves
WITH s AS (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company)
SELECT c.id, c.name, s.total FROM market.main.company c LEFT JOIN s ON c.id = s.company
WHERE s.total IS DISTINCT FROM (SELECT MAX(total) FROM s);

-- one department's sums, named a third time outside
WITH s AS (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company)
SELECT c.name, s.total, (SELECT COUNT(*) FROM s) AS n FROM s JOIN market.main.company c ON c.id = s.company
WHERE s.total > (SELECT MIN(total) FROM s);

-- one department's sums, asked about themselves and about another department's row
WITH s AS (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company)
SELECT c.name, s.total FROM s JOIN market.main.company c ON c.id = s.company
WHERE s.total > (SELECT MIN(o.total) + c.staff FROM s o);

-- the greatest of one department's sums, named by two sources
WITH s AS (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company)
SELECT c.name, a.total FROM s a JOIN s b ON b.company = a.company JOIN market.main.company c ON c.id = a.company
WHERE a.total = (SELECT MAX(total) FROM s);

-- a WITH query of a WITH query of one department
WITH r AS (SELECT company, m3 FROM water.main.reading WHERE flag), s AS (SELECT company, SUM(m3) AS total FROM r GROUP BY company)
SELECT c.name, s.total, (SELECT MAX(m3) FROM r) AS most FROM s JOIN market.main.company c ON c.id = s.company
WHERE s.total = (SELECT MAX(total) FROM s);
