-- OR across departments
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE c.staff = 10 OR r.m3 > 5;

-- OR within one department, AND across
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE (c.staff = 10 OR c.staff IS NULL) AND (r.m3 > 5 OR r.flag);

-- OR of ANDs, each over both departments
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE (c.staff = 10 AND r.m3 > 5) OR (c.staff IS NULL AND r.m3 < 5);

-- NOT of an OR
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE NOT (c.staff = 10 OR r.m3 > 5);

-- constant conditions
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE 1 = 1 AND TRUE;

-- a constant that is false
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE 1 = 0;

-- a constant that is NULL
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE NULL = 1;

-- a constant that is false, under an aggregation without groups
SELECT COUNT(*), SUM(r.m3) FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE 1 = 0;

-- IN with NULL in its list
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
WHERE c.staff IN (10, NULL) OR m.id NOT IN (1, NULL);

-- NOT IN with a list
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id WHERE m.id NOT IN (1, 2);

-- LIKE with wildcards and escape
SELECT c.id, r.note FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE c.name LIKE '%c%' AND (r.note LIKE 'x_' OR r.note NOT LIKE '!_%' ESCAPE '!');

-- trailing blanks count
SELECT m.id, w.id FROM water.main.meter m JOIN health.main.ward w ON w.district = m.district
WHERE m.district = 'north';

-- trimmed and folded keys
SELECT m.id, w.id FROM water.main.meter m JOIN health.main.ward w ON LOWER(w.district) = LOWER(TRIM(m.district));

-- a quote in a literal
SELECT c.id, r.note FROM market.main.company c JOIN water.main.reading r ON r.company = c.id WHERE r.note = 'it''s';

-- leap days and year ends
SELECT c.id, r.month FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE r.month IN (DATE '2024-02-29', DATE '2023-12-31') OR year(r.month) = year(c.founded);

-- date arithmetic in a condition over both sides
SELECT c.id, r.month FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE r.month > c.founded + INTERVAL '20' YEAR;

-- decimals of several scales
SELECT r.m3, s.amount FROM water.main.reading r JOIN market.main.sale s ON s.buyer = r.company
WHERE r.m3 * 2 > s.amount;

-- bigint limits in a condition
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
WHERE c.revenue = 9223372036854775807 OR c.revenue < 0;

-- the smallest bigint
SELECT c.id, s.kg FROM market.main.company c JOIN chemicals.main.stock s ON s.company = c.id
WHERE c.revenue = -9223372036854775808;

-- CASE as a condition
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE CASE WHEN c.staff IS NULL THEN TRUE WHEN r.m3 > 1 THEN c.staff > 5 ELSE FALSE END;

-- IS DISTINCT FROM
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
WHERE c.district IS DISTINCT FROM m.district;

-- a boolean column as a condition, and its negation
SELECT c.id, r.flag FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
WHERE r.flag OR NOT r.flag;

-- LIMIT 0
SELECT c.id, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id LIMIT 0;

-- order by expressions of both departments, with limit (ordered)
SELECT c.id, r.month, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
ORDER BY r.m3 DESC NULLS LAST, c.id, r.month, c.name LIMIT 4;

-- order by a column that is not shown (ordered)
SELECT c.name FROM market.main.company c JOIN health.main.ward w ON w.district = c.district
ORDER BY w.id, c.staff, c.founded;

-- order by position and offset (ordered)
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
ORDER BY 2 DESC, 1, m.installed OFFSET 2 LIMIT 3;

-- distinct over a join (ordered)
SELECT DISTINCT c.district FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
ORDER BY c.district NULLS FIRST;

-- fetch first (ordered)
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
ORDER BY m.id, c.id, c.name FETCH FIRST 2 ROWS ONLY;

-- no relation at all
SELECT 1 AS one, 'a' || 'b', DATE '2024-02-29' + INTERVAL '1' YEAR;

-- IS [NOT] TRUE and FALSE keep their NULLs on the way to a department
SELECT id, open IS TRUE, open IS NOT FALSE FROM health.main.ward WHERE open IS NOT TRUE;

-- the same as a grouping key, a filter of an aggregate and a condition of a join
SELECT r.flag IS TRUE, COUNT(*), COUNT(*) FILTER (WHERE r.flag IS NOT TRUE), COUNT(c.id)
FROM water.main.reading r LEFT JOIN market.main.company c ON c.id = r.company AND r.flag IS NOT TRUE GROUP BY 1;
