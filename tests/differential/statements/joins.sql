-- inner join of two departments, duplicate keys on both sides
SELECT c.id, c.name, r.month, r.m3
FROM market.main.company c JOIN water.main.reading r ON r.company = c.id;

-- comma join with its condition in WHERE
SELECT c.id, m.id FROM market.main.company c, water.main.meter m WHERE m.company = c.id;

-- three departments
SELECT c.id, m.id AS meter, s.substance, s.kg
FROM market.main.company c
JOIN water.main.meter m ON m.company = c.id
JOIN chemicals.main.stock s ON s.company = c.id;

-- four departments
SELECT c.id, m.district, s.kg, a.cause
FROM market.main.company c
JOIN water.main.meter m ON m.company = c.id
JOIN chemicals.main.stock s ON s.company = c.id
JOIN health.main.admission a ON a.company = c.id;

-- four departments in a chain, each joined to the one before
SELECT c.id, m.id, w.id, a.person
FROM market.main.company c
JOIN water.main.meter m ON m.company = c.id
JOIN health.main.ward w ON w.district = m.district
JOIN chemicals.main.stock s ON s.year = 2000 + w.beds
JOIN health.main.admission a ON a.district = w.district;

-- two relations of one department and one of another
SELECT c.id, k.code, r.m3
FROM market.main.company c
JOIN market.main.code k ON k.company = c.id
JOIN water.main.reading r ON r.company = c.id;

-- the other department stands between two relations of one
SELECT m.id, c.name, r.m3
FROM water.main.meter m
JOIN market.main.company c ON c.id = m.company
JOIN water.main.reading r ON r.meter_id = m.id;

-- one department alone
SELECT m.id, r.month, r.m3
FROM water.main.meter m LEFT JOIN water.main.reading r ON r.meter_id = m.id AND r.m3 > 1;

-- cross join
SELECT c.id, w.id FROM market.main.company c CROSS JOIN health.main.ward w;

-- cross join with an empty relation
SELECT c.id, t.price FROM market.main.company c CROSS JOIN water.main.tariff t;

-- join on two keys, one of them nullable on both sides
SELECT m.id, a.person
FROM water.main.meter m JOIN health.main.admission a ON a.company = m.company AND a.district = m.district;

-- keys compared so that NULL equals NULL
SELECT c.id, r.company, r.m3
FROM market.main.company c JOIN water.main.reading r ON r.company IS NOT DISTINCT FROM c.id;

-- non-equi join
SELECT c.id, c.founded, m.id, m.installed
FROM market.main.company c JOIN water.main.meter m ON m.installed > c.founded;

-- range join over validity dates
SELECT k.company, k.code, r.month, r.m3
FROM market.main.code k
JOIN water.main.reading r ON r.company = k.company AND r.month >= k.valid_from
  AND (k.valid_to IS NULL OR r.month <= k.valid_to);

-- between of two departments
SELECT k.code, a.person FROM market.main.code k
JOIN health.main.admission a ON a.day BETWEEN k.valid_from AND k.valid_to;

-- join on an expression of each side
SELECT c.id, r.company FROM market.main.company c JOIN water.main.reading r ON LOWER(r.company) = LOWER(c.id);

-- join on a computed date
SELECT a.person, j.id FROM health.main.admission a JOIN works.main.job j ON a.day = j.start + INTERVAL '1' DAY;

-- join across number types: bigint with integer
SELECT w.id, a.person FROM health.main.ward w JOIN works.main.job j ON w.id = j.id + 9
JOIN health.main.admission a ON a.person = j.id;

-- join across number types: integer with decimal
SELECT j.id, c.id FROM works.main.job j JOIN market.main.company c ON c.staff = j.hours * 5;

-- condition on one side only in an inner ON
SELECT c.id, r.m3 FROM market.main.company c
JOIN water.main.reading r ON r.company = c.id AND r.flag AND c.staff > 5;

-- condition on neither side in ON
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id AND 1 = 1;

-- a join that never matches
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON FALSE;

-- using, inner
SELECT * FROM water.main.reading r JOIN chemicals.main.stock s USING (company);

-- using, two keys
SELECT * FROM water.main.meter m JOIN health.main.admission a USING (district, company);

-- using, the key read without its table
SELECT company, kg, m3 FROM water.main.reading JOIN chemicals.main.stock USING (company) WHERE company <> 'B2';

-- self join within one department
SELECT a.id, b.id FROM market.main.company a JOIN market.main.company b ON b.parent = a.id;

-- self join beside another department
SELECT a.id, b.id, m.id
FROM market.main.company a
JOIN market.main.company b ON b.parent = a.id
JOIN water.main.meter m ON m.company = b.id;

-- self join over a cross-department join
SELECT x.id, y.id FROM market.main.company x
JOIN water.main.meter m ON m.company = x.id
JOIN market.main.company y ON y.district = m.district AND y.id <> x.id;

-- the same relation three times
SELECT a.id, b.id, c.id FROM health.main.ward a, health.main.ward b, health.main.ward c
WHERE a.beds > b.beds AND b.beds > c.beds;

-- text that differs in case, blanks and Unicode form stays apart
SELECT c.name, r.note FROM market.main.company c JOIN water.main.reading r ON r.note = c.name;

-- duplicates on both sides multiply
SELECT s.seller, r.m3 FROM market.main.sale s JOIN water.main.reading r ON r.company = s.seller;

-- brackets round the first join
-- as: SELECT c.id, s.kg FROM market.main.company c JOIN water.main.meter m ON m.company = c.id JOIN chemicals.main.stock s ON s.company = c.id
SELECT c.id, s.kg
FROM (market.main.company c JOIN water.main.meter m ON m.company = c.id)
JOIN chemicals.main.stock s ON s.company = c.id;

-- two pairs joined in derived tables
SELECT x.id, y.person FROM
  (SELECT c.id, m.district FROM market.main.company c JOIN water.main.meter m ON m.company = c.id) x
JOIN
  (SELECT a.person, a.district FROM health.main.admission a JOIN chemicals.main.stock s ON s.company = a.company) y
ON y.district = x.district;

-- bigint limits as keys
SELECT m.id, s.company FROM water.main.meter m JOIN chemicals.main.stock s ON s.grams = m.id;

-- two of one department on its key, a condition on one of them alone, another department between them
SELECT c.name, r.m3, m.district FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company
JOIN water.main.meter m ON m.id = r.meter_id WHERE m.factor > 0.6 AND r.m3 > c.staff;

-- the same by WHERE alone, both departments
SELECT c.id, k.code, m.district FROM water.main.reading r, market.main.company c, water.main.meter m, market.main.code k
WHERE r.meter_id = m.id AND c.id = r.company AND k.company = c.id AND k.code > 100;

-- two of one department on a column of few values
SELECT c.name, w.beds, a.days FROM health.main.admission a JOIN market.main.company c ON c.id = a.company
JOIN health.main.ward w ON w.district = a.district;

-- several rows of one key on both sides
SELECT s.amount, k.code, m.id FROM market.main.sale s JOIN market.main.company c ON c.id = s.seller
JOIN market.main.code k ON k.company = c.id JOIN water.main.meter m ON m.company = c.id;

-- a key, and a join of groups to others by two conditions
SELECT c.name, r.note FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
JOIN water.main.meter m ON m.id = r.meter_id AND m.company = c.parent;

-- a key inside a subquery, joined to the row outside
SELECT c.id FROM market.main.company c WHERE EXISTS (SELECT 1 FROM water.main.reading r
JOIN water.main.meter m ON m.id = r.meter_id AND r.company = c.id AND m.factor > 0.6);

-- a key before a join that extends both
SELECT c.id, r.m3 FROM water.main.reading r JOIN water.main.meter m ON m.id = r.meter_id
RIGHT JOIN market.main.company c ON c.id = r.company WHERE r.m3 > 5 AND m.factor > 0;
