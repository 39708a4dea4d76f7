-- a restricted giver, an unrestricted taker
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 10;

-- the giver is restricted by a limit
SELECT d.id, r.m3 FROM (SELECT id FROM market.main.company ORDER BY id, name LIMIT 2) d JOIN water.main.reading r ON r.company = d.id;

-- the taker is the right side of a left join
SELECT c.id, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 10;

-- the taker would be the left side of a left join: no keys
SELECT r.company, c.id FROM water.main.reading r LEFT JOIN market.main.company c ON c.id = r.company AND c.staff = 10;

-- the right side of a left join is restricted in WHERE
SELECT r.company, c.id FROM water.main.reading r LEFT JOIN market.main.company c ON c.id = r.company WHERE c.staff = 10;

-- a right join: the preserved side takes no keys
SELECT c.id, r.company FROM market.main.company c RIGHT JOIN water.main.reading r ON r.company = c.id AND c.staff = 10;

-- a full join: no keys at all
SELECT c.id, r.company FROM (SELECT id FROM market.main.company WHERE staff = 10) c
FULL JOIN water.main.reading r ON r.company = c.id;

-- a giver that is itself null-extended gives no keys
SELECT w.district, m.id, s.kg FROM health.main.ward w
LEFT JOIN (SELECT id, district, company FROM water.main.meter WHERE factor = 1) m ON m.district = w.district
LEFT JOIN chemicals.main.stock s ON s.company = m.company;

-- a giver that a later right join extends
SELECT c.id, r.m3, w.id FROM market.main.company c JOIN water.main.reading r ON r.company = c.id AND c.staff = 10
RIGHT JOIN health.main.ward w ON w.district = c.district;

-- the taker is an aggregation by its key
SELECT c.id, d.total FROM market.main.company c
JOIN (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company) d ON d.company = c.id WHERE c.staff = 10;

-- the taker is an aggregation without that key
SELECT c.id, d.n FROM market.main.company c
JOIN (SELECT company, COUNT(*) AS n FROM water.main.reading GROUP BY company) d ON d.n = c.staff WHERE c.founded > DATE '2000-01-01';

-- the taker keeps distinct rows
SELECT c.id, d.note FROM market.main.company c
JOIN (SELECT DISTINCT company, note FROM water.main.reading) d ON d.company = c.id WHERE c.staff = 10;

-- the taker has a limit of its own
SELECT c.id, d.m3 FROM market.main.company c
JOIN (SELECT company, m3 FROM water.main.reading ORDER BY m3 DESC NULLS LAST, company, note LIMIT 4) d ON d.company = c.id WHERE c.staff = 10;

-- the taker has a window
SELECT c.id, d.n FROM market.main.company c
JOIN (SELECT company, RANK() OVER (ORDER BY m3) AS n FROM water.main.reading) d ON d.company = c.id WHERE c.staff = 10;

-- the taker is a union of one department
SELECT c.id, d.k FROM market.main.company c
JOIN (SELECT company AS k FROM water.main.reading UNION ALL SELECT company FROM water.main.meter) d ON d.k = c.id WHERE c.staff = 10;

-- two takers of one giver
SELECT c.id, r.m3, s.kg FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
JOIN chemicals.main.stock s ON s.company = c.id WHERE c.staff = 10;

-- one taker of two givers
SELECT c.id, r.m3, a.person FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
JOIN health.main.admission a ON a.company = r.company WHERE c.staff = 10 AND a.days > 1;

-- a chain: the taker could give on
SELECT c.id, m.id, w.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
JOIN health.main.ward w ON w.district = m.district WHERE c.staff = 10;

-- keys are NULL on both sides
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.parent WHERE c.district = 'north';

-- the giver gives nothing
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 12345;

-- the giver gives nothing to a left join
SELECT c.id, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.parent WHERE c.parent IS NULL AND c.staff = 10;

-- integer keys for a bigint column
SELECT j.id, m.company FROM works.main.job j JOIN water.main.meter m ON m.id = j.id WHERE j.hours > 1;

-- bigint keys for an integer column
SELECT m.id, j.start FROM water.main.meter m JOIN works.main.job j ON j.id = m.id WHERE m.factor > 0;

-- date keys
SELECT k.code, a.person FROM market.main.code k JOIN health.main.admission a ON a.day = k.valid_to WHERE k.code > 200;

-- decimal keys are compared in the gateway
SELECT s.seller, j.id FROM market.main.sale s JOIN works.main.job j ON j.hours = s.amount WHERE s.qty = 3;

-- one question asked twice, its outputs in another order
SELECT x.p, x.q, y.p, r.m3 FROM (SELECT id AS p, parent AS q FROM market.main.company WHERE staff >= 0) x
JOIN (SELECT id AS q, parent AS p FROM market.main.company WHERE staff >= 0) y ON y.q = x.p
JOIN water.main.reading r ON r.company = y.p;

-- one question asked twice, the giver read by its other name
SELECT x.p, x.q, y.q, r.m3 FROM (SELECT parent AS p, id AS q FROM market.main.company WHERE staff >= 0) x
CROSS JOIN (SELECT parent AS q, id AS p FROM market.main.company WHERE staff >= 0) y
JOIN water.main.reading r ON r.company = y.p;

-- giver and taker in a subquery
SELECT a.person FROM health.main.admission a WHERE a.company IN
  (SELECT r.company FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 10);

-- giver and taker in a CTE used twice
WITH p AS (SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 10)
SELECT a.id, b.m3 FROM p a JOIN p b ON b.id = a.id JOIN health.main.admission h ON h.company = a.id;

-- giver and taker in arms of a union
SELECT r.company FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 10
UNION ALL SELECT r.company FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE c.staff < 10;

-- keys under sums
SELECT c.id, SUM(r.m3), COUNT(r.m3) FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE c.staff = 10 GROUP BY c.id;

-- an equality in WHERE over a left join
SELECT c.id, m.id FROM market.main.company c LEFT JOIN water.main.meter m ON m.installed > c.founded
WHERE m.company = c.id AND c.staff = 10;

-- a LEFT JOIN keyed by a table that is not its neighbour
SELECT c.id, w.id, r.m3 FROM market.main.company c JOIN health.main.ward w ON w.district = c.district
LEFT JOIN water.main.reading r ON r.company = c.id AND r.m3 IS NOT NULL WHERE c.staff = 10;

-- the taker fetches its first rows
SELECT c.id, d.m3 FROM market.main.company c
JOIN (SELECT company, m3 FROM water.main.reading ORDER BY m3 DESC NULLS LAST, company, note FETCH FIRST 4 ROWS ONLY) d
  ON d.company = c.id WHERE c.staff = 10;

-- the taker groups by sets
SELECT c.id, d.company, d.n FROM market.main.company c
JOIN (SELECT company, COUNT(*) AS n FROM water.main.reading GROUP BY ROLLUP (company)) d ON d.company = c.id WHERE c.staff = 10;

-- two sets: a taker of keys in two columns of two givers
SELECT c.id, r.m3, a.person FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
JOIN health.main.admission a ON a.person = r.meter_id WHERE c.staff = 10 AND a.cause = 'lung';

-- two sets: both columns are texts, whose keys differ
SELECT a.person, m.id, c.name FROM water.main.meter m JOIN market.main.company c ON c.id = m.company
JOIN health.main.admission a ON a.district = m.district WHERE c.staff = 10 AND a.cause = 'lung';

-- two sets: two columns of one giver
SELECT a.person, m.id FROM health.main.admission a JOIN water.main.meter m ON m.company = a.company AND m.district = a.district
WHERE a.cause = 'lung';

-- two sets: two columns of one giver, crosswise
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.parent AND m.district = c.district
WHERE c.staff = 10;

-- two sets: below the groups that both are keys of
SELECT c.id, d.total, a.person FROM market.main.company c
JOIN (SELECT company, meter_id, SUM(m3) AS total FROM water.main.reading GROUP BY company, meter_id) d ON d.company = c.id
JOIN health.main.admission a ON a.person = d.meter_id WHERE c.staff = 10 AND a.cause = 'lung';

-- two sets: only one of the columns is a key of the groups
SELECT c.id, d.n, a.person FROM market.main.company c
JOIN (SELECT company, COUNT(*) AS n FROM water.main.reading GROUP BY company) d ON d.company = c.id
JOIN health.main.admission a ON a.person = d.n WHERE c.staff = 10 AND a.cause = 'lung';

-- two sets: one of a join, one of a LEFT JOIN that the taker is the right side of
SELECT c.id, r.m3, a.person FROM market.main.company c JOIN health.main.admission a ON a.company = c.id
LEFT JOIN water.main.reading r ON r.company = c.parent AND r.meter_id = a.person WHERE c.staff = 10 AND a.cause = 'lung';

-- two sets: the second column is of the preserved side, and takes none
SELECT c.id, r.m3, a.person FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
LEFT JOIN health.main.admission a ON a.person = r.meter_id AND a.cause = 'lung' WHERE c.staff = 10;

-- two sets: one of them is empty
SELECT c.id, r.m3, a.person FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
JOIN health.main.admission a ON a.person = r.meter_id WHERE c.staff = 10 AND a.cause = 'none of them';

-- two sets: NULL keys of both, on both sides
SELECT c.id, r.m3, a.person FROM market.main.company c JOIN water.main.reading r ON r.company = c.parent
JOIN health.main.admission a ON a.person = r.meter_id WHERE c.district = 'north' AND a.days = 2;

-- three sets of three givers
SELECT c.id, r.m3, a.person, k.id FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
JOIN health.main.admission a ON a.person = r.meter_id JOIN works.main.job k ON k.start = r.month
WHERE c.staff = 10 AND a.cause = 'lung' AND k.hours > 1;

-- two sets: equal columns of the taker are one
SELECT c.id, r.m3, m.id FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
JOIN water.main.meter m ON m.company = c.id AND m.company = r.company WHERE c.staff = 10;

-- two sets: in a subquery that is asked about rows restricted elsewhere
SELECT c.id, a.person FROM market.main.company c JOIN health.main.admission a ON a.company = c.id
WHERE c.staff = 10 AND a.cause = 'lung' AND EXISTS
  (SELECT 1 FROM water.main.reading r WHERE r.company = c.id AND r.meter_id = a.person);

-- pairs: a join on two columns asks for both together
SELECT s.seller, s.day, r.m3 FROM market.main.sale s JOIN water.main.reading r
ON r.company = s.seller AND r.month = s.day WHERE s.amount = 100;

-- pairs: one row of the giver has the one value, another row the other
SELECT s.seller, s.day, r.m3 FROM market.main.sale s JOIN water.main.reading r
ON r.company = s.seller AND r.month = s.day WHERE s.qty IN (1, 2, 3);

-- pairs: below groups whose keys both columns are
SELECT s.buyer, d.total FROM market.main.sale s JOIN
(SELECT company, month, SUM(m3) AS total FROM water.main.reading GROUP BY company, month) d
ON d.company = s.seller AND d.month = s.day WHERE s.qty IN (1, 2);

-- pairs: of groups of which only one column is a key
SELECT s.buyer, d.latest FROM market.main.sale s JOIN
(SELECT company, MAX(month) AS latest FROM water.main.reading GROUP BY company) d
ON d.company = s.seller AND d.latest = s.day WHERE s.qty IN (1, 2, 3);

-- pairs: NULL in one of them, on both sides
SELECT s.seller, s.day, r.m3 FROM market.main.sale s JOIN water.main.reading r
ON r.company = s.buyer AND r.month = s.day WHERE s.qty IN (0, 1, 5, -4);

-- pairs: in a correlated EXISTS
SELECT s.seller, s.day FROM market.main.sale s WHERE s.qty IN (1, 2) AND EXISTS
(SELECT 1 FROM water.main.reading r WHERE r.company = s.seller AND r.month = s.day);

-- pairs: in a correlated NOT EXISTS, which needs all rows that one of the outer rows meets
SELECT s.seller, s.day FROM market.main.sale s WHERE s.qty IN (1, 2) AND NOT EXISTS
(SELECT 1 FROM water.main.reading r WHERE r.company = s.seller AND r.month = s.day);

-- pairs: of a LEFT JOIN, whose unmatched rows stay
SELECT s.seller, s.day, r.m3 FROM market.main.sale s LEFT JOIN water.main.reading r
ON r.company = s.seller AND r.month = s.day WHERE s.qty IN (1, 2);

-- pairs: one column of a LEFT JOIN's ON, the other of WHERE
SELECT s.seller, s.day, r.m3 FROM market.main.sale s LEFT JOIN water.main.reading r
ON r.company = s.seller WHERE r.month = s.day AND s.qty IN (1, 2);

-- pairs: a giver that is read twice gives each column by itself
SELECT x.company, x.day, r.month, r.m3 FROM (SELECT a.seller AS company, a.day, b.day AS month FROM market.main.sale a
JOIN chemicals.main.stock k ON k.company = a.seller JOIN market.main.sale b ON b.seller > k.company
WHERE k.kg > 1 AND a.amount < 200 AND b.amount < 200) x
JOIN water.main.reading r ON r.company = x.company AND r.month = x.month;

-- pairs: two meetings of one taker with different givers
SELECT s.seller, r.m3, k.kg FROM market.main.sale s JOIN water.main.reading r
ON r.company = s.seller AND r.month = s.day JOIN chemicals.main.stock k
ON k.company = r.company AND k.grams = r.meter_id WHERE s.qty IN (1, 2) AND k.year = 2023;

-- pairs: through derived tables of both sides
SELECT x.i, y.m FROM (SELECT seller AS i, day AS p FROM market.main.sale WHERE qty = 1) x
JOIN (SELECT company AS k, month AS w, m3 AS m FROM water.main.reading WHERE m3 > 1) y ON y.k = x.i AND y.w = x.p;

-- pairs: numbers and texts
SELECT c.company, k.kg FROM market.main.code c JOIN chemicals.main.stock k
ON k.company = c.company AND k.year = c.code WHERE c.valid_from = DATE '2020-01-01';

-- pairs: what equals one of them in the taker is restricted too
SELECT s.seller, m.id, r.m3 FROM market.main.sale s JOIN water.main.reading r
ON r.company = s.seller AND r.month = s.day JOIN water.main.meter m ON m.company = r.company WHERE s.amount = 100;

-- three columns together
SELECT c.name, m.id FROM market.main.company c JOIN water.main.meter m
ON m.company = c.id AND m.district = c.district AND m.installed = c.founded WHERE c.staff = 10;

-- one column of the giver, met by two of the taker, goes by itself
SELECT s.seller, d.total, d.m3 FROM market.main.sale s JOIN
(SELECT a.company AS one, b.company AS two, a.m3, b.total FROM water.main.reading a JOIN
(SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company) b ON b.company = a.company) d
ON d.one = s.seller AND d.two = s.seller WHERE s.amount = 100;

-- a star: only rows of the middle that one side has give keys to the other
SELECT r.m3, c.name, a.cause FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
JOIN health.main.admission a ON a.person = r.meter_id WHERE c.staff = 10;

-- a star: what one side lacks may still be needed by the other
SELECT r.m3, c.name, a.cause FROM water.main.reading r LEFT JOIN market.main.company c ON c.id = r.company AND c.staff = 10
JOIN health.main.admission a ON a.person = r.meter_id;

-- a star: a LEFT JOIN takes of the rows that both others have
SELECT r.m3, c.name, a.cause, k.id FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
JOIN health.main.admission a ON a.person = r.meter_id LEFT JOIN works.main.job k ON k.start = r.month WHERE c.staff = 10;

-- a star: by membership
SELECT r.m3, a.cause FROM water.main.reading r JOIN health.main.admission a ON a.person = r.meter_id
WHERE r.company IN (SELECT c.id FROM market.main.company c WHERE c.staff = 10);

-- a star: by membership, of none of them
SELECT r.m3, a.cause FROM water.main.reading r JOIN health.main.admission a ON a.person = r.meter_id
WHERE r.company NOT IN (SELECT c.id FROM market.main.company c WHERE c.staff = 10 AND c.id IS NOT NULL);

-- a star: both sides meet the middle in one column
SELECT s.amount, c.name, a.cause FROM market.main.company c JOIN chemicals.main.stock s0 ON s0.company = c.id
JOIN market.main.sale s ON s.seller = s0.company JOIN health.main.admission a ON a.company = s0.company WHERE c.staff = 10;

-- a star: NULLs in the middle, and in what restricts it
SELECT c.id, s.substance, a.person, c.parent FROM market.main.company c JOIN chemicals.main.stock s ON s.company = c.parent
JOIN health.main.admission a ON a.district = c.district;

-- a star: the middle is read twice, once without a side
SELECT x.company, x.name, y.n FROM (SELECT r.company, c.name, a.cause FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company JOIN health.main.admission a ON a.person = r.meter_id WHERE c.staff = 10) x
JOIN (SELECT r.company, COUNT(*) AS n FROM water.main.reading r JOIN health.main.admission a ON a.person = r.meter_id
GROUP BY r.company) y ON y.company = x.company;

-- a star: groups in the middle
SELECT d.company, d.total, c.name, a.cause FROM (SELECT company, meter_id, SUM(m3) AS total FROM water.main.reading
GROUP BY company, meter_id) d JOIN market.main.company c ON c.id = d.company JOIN health.main.admission a ON a.person = d.meter_id
WHERE c.staff = 10;

-- a star: the middle is around a subquery
SELECT r.m3, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
WHERE c.staff = 10 AND EXISTS (SELECT 1 FROM health.main.admission a WHERE a.person = r.meter_id AND a.days > 0);
