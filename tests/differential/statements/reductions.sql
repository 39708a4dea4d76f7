-- what every branch of an OR says of one source
SELECT c.id, r.m3 FROM market.main.company c, water.main.reading r
WHERE (r.company = c.id AND c.staff = 10 AND r.m3 > 1) OR (r.company = c.id AND c.district = 'south' AND r.m3 > 2);

-- a branch of an OR that says no more than the others
SELECT c.id, r.m3 FROM market.main.company c, water.main.reading r
WHERE r.company = c.id AND (r.flag OR (r.flag AND c.staff > 1));

-- one branch of an OR says nothing of a source
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE (c.staff = 10 AND r.m3 > 1) OR c.district = 'south';

-- two relations of one department that meet over another's column
SELECT c.name, k.code, m.id FROM market.main.company c, water.main.meter m, market.main.code k
WHERE c.id = m.company AND m.company = k.company AND c.id < 'C';

-- equal to a column that an outer join may extend
SELECT c.id, r.m3, m.id FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id
LEFT JOIN water.main.meter m ON m.company = r.company WHERE c.id = 'A1' OR c.id = 'D4';

-- a condition on the preserved side says nothing of the other
SELECT c.id, m.id FROM water.main.meter m RIGHT JOIN market.main.company c ON m.company = c.id
WHERE m.company IS NULL OR m.company = 'A1';

-- an equality that a later RIGHT JOIN extends
SELECT c.id, r.m3, k.code FROM market.main.company c JOIN water.main.reading r ON r.company = c.id AND c.id = 'A1'
RIGHT JOIN market.main.code k ON k.company = c.id;

-- equalities in WHERE above an outer join
SELECT c.id, r.m3, k.code FROM market.main.company c FULL JOIN water.main.reading r ON r.company = c.id,
market.main.code k WHERE k.company = c.id AND c.id = r.company;

-- an average for each row's key
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE r.m3 <= (SELECT 1.5 * AVG(x.m3) FROM water.main.reading x WHERE x.company = c.id);

-- a maximum for each row's two keys
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
WHERE (SELECT MAX(x.m3) FROM water.main.reading x WHERE x.company = c.id AND x.meter_id = m.id) > 3;

-- nothing to sum for most rows: not equal
SELECT c.id FROM market.main.company c
WHERE c.staff <> (SELECT SUM(m.id) FROM water.main.meter m WHERE m.company = c.id AND m.factor = 1);

-- a count for each row: 0 of nothing
SELECT c.id FROM market.main.company c
WHERE c.staff > (SELECT COUNT(*) FROM water.main.meter m WHERE m.company = c.id);

-- COALESCE of nothing is a number
SELECT c.id FROM market.main.company c
WHERE c.staff > (SELECT COALESCE(MAX(m.factor), 0) FROM water.main.meter m WHERE m.company = c.id);

-- an aggregate under OR
SELECT c.id FROM market.main.company c
WHERE c.staff < (SELECT MAX(m.id) FROM water.main.meter m WHERE m.company = c.id) OR c.district = 'north';

-- an aggregate of what is less
SELECT c.id FROM market.main.company c
WHERE c.staff > (SELECT MIN(m.factor) FROM water.main.meter m WHERE m.company <= c.id);

-- an aggregate for each row of a preserved side
SELECT c.id, m.id FROM market.main.company c LEFT JOIN water.main.meter m ON m.company = c.id
WHERE c.staff > (SELECT MIN(x.factor) FROM water.main.meter x WHERE x.company = m.company);

-- EXISTS and NOT EXISTS of one department beside another
SELECT c.name, m.id FROM water.main.meter m JOIN market.main.company c ON c.id = m.company
WHERE EXISTS (SELECT * FROM water.main.reading r WHERE r.meter_id = m.id AND r.flag)
AND NOT EXISTS (SELECT * FROM water.main.reading r WHERE r.meter_id = m.id AND r.m3 < 0);

-- NOT EXISTS of a source that an outer join extends
SELECT c.id, m.id FROM market.main.company c LEFT JOIN water.main.meter m ON m.company = c.id
WHERE NOT EXISTS (SELECT 1 FROM water.main.reading r WHERE r.meter_id = m.id);

-- a subquery that reads two sources of one department
SELECT c.name FROM water.main.meter m JOIN water.main.reading r ON r.meter_id = m.id JOIN market.main.company c
ON c.id = m.company WHERE r.m3 > (SELECT MIN(x.m3) FROM water.main.reading x WHERE x.meter_id = m.id
AND x.month < r.month);

-- rows that exist once or twice, in another department
SELECT c.id FROM market.main.company c
WHERE EXISTS (SELECT 1 FROM water.main.reading r WHERE r.company = c.id AND r.m3 > 0)
AND NOT EXISTS (SELECT 1 FROM health.main.admission a WHERE a.company = c.id);

-- IN another department's question, with its NULLs
SELECT c.id FROM market.main.company c WHERE c.id IN (SELECT r.company FROM water.main.reading r WHERE r.m3 > 0);

-- NOT IN another department's question, with its NULLs
SELECT c.id FROM market.main.company c
WHERE c.id NOT IN (SELECT m.company FROM water.main.meter m WHERE m.factor > 1);

-- NOT IN a question with a NULL in its answer
SELECT c.id FROM market.main.company c WHERE c.id NOT IN (SELECT m.company FROM water.main.meter m);

-- IN a limited answer
SELECT c.id FROM market.main.company c
WHERE c.id IN (SELECT r.company FROM water.main.reading r ORDER BY r.m3, r.company LIMIT 3);

-- what a LEFT JOIN brings to be counted
SELECT c.id, COUNT(r.meter_id) AS n, COUNT(*) AS rows, SUM(r.m3) AS s, MAX(r.month) AS m
FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id AND r.m3 >= 0
GROUP BY c.id HAVING COUNT(*) > 0;

-- a LEFT JOIN that is counted, beside a join that repeats rows
SELECT c.district, COUNT(r.m3) AS n, SUM(r.m3) AS s FROM market.main.company c
LEFT JOIN water.main.reading r ON r.company = c.id JOIN market.main.code k ON k.company = c.id GROUP BY c.district;

-- a LEFT JOIN that a later RIGHT JOIN extends
SELECT k.code, COUNT(*) AS n, COUNT(r.m3) AS m FROM market.main.company c LEFT JOIN water.main.reading r
ON r.company = c.id RIGHT JOIN market.main.code k ON k.company = c.id GROUP BY k.code;

-- the sum of what is put in place of NULL
SELECT c.id, SUM(COALESCE(r.m3, 1)) AS s FROM market.main.company c
LEFT JOIN water.main.reading r ON r.company = c.id GROUP BY c.id;

-- keys go on from department to department
SELECT c.id, r.m3, a.person FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
JOIN health.main.admission a ON a.company = r.company WHERE c.name = 'Acme';

-- keys go below a derived table to all that is equal there
SELECT c.id, d.n, d.s FROM market.main.company c JOIN (SELECT m.company, COUNT(*) AS n, SUM(r.m3) AS s
FROM water.main.meter m JOIN water.main.reading r ON r.company = m.company GROUP BY m.company) d ON d.company = c.id
WHERE c.staff = 10;

-- keys for each row's subquery
SELECT c.id, (SELECT MAX(r.m3) FROM water.main.reading r WHERE r.company = c.id) AS m FROM market.main.company c
WHERE c.staff = 10;

-- a text of what equals it in another scale
SELECT q.id, m.company FROM (SELECT id, COALESCE(CAST(hours AS decimal(6,3)), 0.0001) AS h FROM works.main.job) q
JOIN water.main.meter m ON q.h = m.factor WHERE CAST(m.factor AS varchar) = '2.000';

-- an aggregate of what equals a padded text
SELECT q.id FROM (SELECT id, UPPER(CAST(name AS char(9))) AS u FROM market.main.company) q WHERE 0 < (SELECT MAX(v.n)
FROM (SELECT CASE id % 2 WHEN 0 THEN 'ACME' ELSE 'ACME ' END AS k, id AS n FROM water.main.meter) v WHERE v.k = q.u);
