-- IN over another department
SELECT c.id FROM market.main.company c WHERE c.id IN (SELECT company FROM water.main.reading);

-- NOT IN whose list holds NULL: no row
SELECT c.id FROM market.main.company c WHERE c.id NOT IN (SELECT company FROM water.main.reading);

-- NOT IN without NULL
SELECT c.id FROM market.main.company c WHERE c.id NOT IN (SELECT company FROM water.main.reading WHERE company IS NOT NULL);

-- NOT IN over an empty relation: every row, NULL too
SELECT c.id FROM market.main.company c WHERE c.id NOT IN (SELECT district FROM water.main.tariff);

-- IN as a value
SELECT c.id, c.id IN (SELECT company FROM water.main.reading) AS wet FROM market.main.company c;

-- IN within OR
SELECT c.id, c.staff FROM market.main.company c WHERE c.staff = 10 OR c.id IN (SELECT company FROM chemicals.main.stock);

-- IN over a computed value
SELECT c.id FROM market.main.company c WHERE LOWER(c.id) IN (SELECT LOWER(company) FROM water.main.meter);

-- EXISTS, correlated
SELECT c.id FROM market.main.company c WHERE EXISTS (SELECT 1 FROM water.main.reading r WHERE r.company = c.id AND r.m3 > 5);

-- NOT EXISTS, correlated
SELECT c.id FROM market.main.company c WHERE NOT EXISTS (SELECT 1 FROM water.main.reading r WHERE r.company = c.id);

-- EXISTS, not correlated
SELECT c.id FROM market.main.company c WHERE EXISTS (SELECT * FROM water.main.reading WHERE m3 > 5);

-- EXISTS over an empty relation
SELECT c.id FROM market.main.company c WHERE EXISTS (SELECT * FROM water.main.tariff);

-- EXISTS with an inequality
SELECT c.id FROM market.main.company c WHERE EXISTS (SELECT 1 FROM water.main.meter m WHERE m.installed > c.founded AND m.company <> c.id);

-- scalar, not correlated
SELECT c.id, (SELECT MAX(m3) FROM water.main.reading) AS most FROM market.main.company c;

-- scalar, not correlated, without a name
SELECT c.id, (SELECT COUNT(*) FROM health.main.closed) FROM market.main.company c;

-- scalar, correlated
SELECT c.id, (SELECT MAX(r.m3) FROM water.main.reading r WHERE r.company = c.id) AS most FROM market.main.company c;

-- scalar, correlated, count of nothing is 0
SELECT c.id, (SELECT COUNT(*) FROM water.main.reading r WHERE r.company = c.id) AS n FROM market.main.company c;

-- scalar, correlated, with the planner's own names
SELECT t1.id, (SELECT MAX(t0.m3) FROM water.main.reading t0 WHERE t0.company = t1.id) FROM market.main.company t1;

-- scalar in an expression
SELECT c.id, 100 * c.staff / (SELECT SUM(staff) FROM market.main.company) AS share FROM market.main.company c
WHERE c.id IN (SELECT company FROM water.main.meter);

-- scalar in WHERE
SELECT r.company, r.m3 FROM water.main.reading r WHERE r.m3 > (SELECT AVG(amount) FROM market.main.sale WHERE seller = 'A1');

-- scalar in WHERE of a join
SELECT r.company, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
WHERE r.m3 >= (SELECT MIN(kg) FROM chemicals.main.stock);

-- scalar over nothing is NULL
SELECT c.id, (SELECT MAX(price) FROM water.main.tariff) FROM market.main.company c;

-- correlated over two departments inside
SELECT c.id, (SELECT SUM(r.m3) FROM water.main.reading r JOIN chemicals.main.stock s ON s.company = r.company
  WHERE r.company = c.id) AS total FROM market.main.company c;

-- correlated count over two departments inside
SELECT c.id, (SELECT COUNT(r.m3) FROM water.main.reading r JOIN chemicals.main.stock s ON s.company = r.company
  WHERE r.company = c.id AND s.kg > 0) AS n FROM market.main.company c;

-- a subquery that reads the same relation as the query around it
SELECT c.id FROM market.main.company c WHERE c.staff >= (SELECT AVG(staff) FROM market.main.company)
AND c.id IN (SELECT company FROM water.main.meter);

-- the same alias inside and outside
SELECT x.id FROM market.main.company x WHERE x.id IN (SELECT x.company FROM water.main.reading x WHERE x.m3 > 1);

-- an inner column hides an outer one of the same name
SELECT m.company FROM water.main.meter m WHERE EXISTS (SELECT 1 FROM chemicals.main.stock WHERE company = 'B2' AND district = 'south');

-- correlated two levels up
SELECT c.id FROM market.main.company c WHERE EXISTS (SELECT 1 FROM water.main.meter m WHERE m.company = c.id
  AND EXISTS (SELECT 1 FROM health.main.ward w WHERE w.district = m.district AND w.beds > c.staff));

-- greater than ALL
SELECT c.id, c.staff FROM market.main.company c WHERE c.staff > ALL (SELECT days FROM health.main.admission WHERE days IS NOT NULL);

-- greater than ALL with NULL among them
SELECT c.id, c.staff FROM market.main.company c WHERE c.staff > ALL (SELECT days FROM health.main.admission);

-- ALL over nothing
SELECT c.id FROM market.main.company c WHERE c.staff > ALL (SELECT id FROM health.main.closed);

-- equal to ANY
SELECT c.id FROM market.main.company c WHERE c.staff = ANY (SELECT days FROM health.main.admission);

-- less than or equal to ANY
SELECT c.id FROM market.main.company c WHERE c.staff <= ANY (SELECT beds FROM health.main.ward);

-- a subquery in HAVING
SELECT r.company, SUM(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY r.company HAVING SUM(r.m3) > (SELECT AVG(m3) FROM water.main.reading WHERE m3 < 100);

-- a subquery of another department in HAVING
SELECT r.company, COUNT(*) FROM water.main.reading r GROUP BY r.company
HAVING COUNT(*) >= (SELECT MIN(hazard) FROM chemicals.main.substance);

-- IN in HAVING
SELECT r.company, COUNT(*) FROM water.main.reading r GROUP BY r.company
HAVING r.company IN (SELECT id FROM market.main.company WHERE staff = 10);

-- a subquery in ORDER BY (ordered)
SELECT c.id, c.name FROM market.main.company c
ORDER BY (SELECT COUNT(*) FROM water.main.reading r WHERE r.company = c.id) DESC, c.id, c.name;

-- a subquery in CASE
SELECT c.id, CASE WHEN c.id IN (SELECT company FROM water.main.meter) THEN 'wet' ELSE 'dry' END FROM market.main.company c;

-- a subquery in an aggregate
SELECT c.district, SUM(CASE WHEN c.id IN (SELECT company FROM water.main.meter) THEN 1 ELSE 0 END)
FROM market.main.company c GROUP BY c.district;

-- a subquery with a limit
SELECT c.id FROM market.main.company c
WHERE c.id IN (SELECT company FROM water.main.reading WHERE company IS NOT NULL ORDER BY m3 DESC NULLS LAST, company LIMIT 2);

-- a subquery over a CTE of two departments
WITH p AS (SELECT m.company, w.beds FROM water.main.meter m JOIN health.main.ward w ON w.district = m.district)
SELECT c.id FROM market.main.company c WHERE c.id IN (SELECT company FROM p WHERE beds > 1);

-- a subquery in ON
SELECT c.id, m.id FROM market.main.company c
JOIN water.main.meter m ON m.company = c.id AND m.factor >= (SELECT MIN(kg) FROM chemicals.main.stock);

-- IN over a self join of the outer department
SELECT c.id FROM market.main.company c WHERE c.parent IN (SELECT p.id FROM market.main.company p WHERE p.parent IS NULL)
AND EXISTS (SELECT 1 FROM chemicals.main.stock s WHERE s.company = c.id);

-- subqueries over three departments in one condition
SELECT c.id FROM market.main.company c WHERE c.id IN (SELECT company FROM water.main.meter)
AND (c.id IN (SELECT company FROM chemicals.main.stock) OR c.id IN (SELECT company FROM health.main.admission));

-- scalar, correlated, the outer table has the planner's own name
SELECT t0.id, (SELECT MAX(x.m3) FROM water.main.reading x WHERE x.company = t0.id) FROM market.main.company t0;

-- rows among the rows of a query, of one department
SELECT s.seller, s.day FROM market.main.sale s WHERE (s.seller, s.day) IN (SELECT c.company, c.valid_from FROM market.main.code c);

-- rows among the rows of a query, of another department
SELECT s.seller, s.day FROM market.main.sale s WHERE (s.seller, s.day) IN (SELECT r.company, r.month FROM water.main.reading r);

-- rows that are not among the rows of a query
SELECT s.seller, s.day FROM market.main.sale s WHERE (s.seller, s.day) NOT IN
(SELECT r.company, r.month FROM water.main.reading r);

-- rows among groups, whose columns have other types
SELECT k.company, k.year FROM chemicals.main.stock k WHERE (k.company, k.grams) IN
(SELECT c.company, SUM(c.code) FROM market.main.code c GROUP BY c.company) OR (k.company, 2024) IN
(SELECT r.company, 2024 FROM water.main.reading r WHERE r.m3 > 5);

-- EXISTS of distinct values after the first
SELECT c.id FROM market.main.company c WHERE EXISTS (SELECT DISTINCT r.flag FROM water.main.reading r WHERE r.m3 = 0 OFFSET 1);
