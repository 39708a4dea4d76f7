-- the greatest sums of one side are enough (ordered)
SELECT c.id, c.name, SUM(r.m3) AS total FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
AND c.staff IS NOT NULL AND c.name <> 'Copy' GROUP BY c.id, c.name ORDER BY total DESC LIMIT 1;

-- a key that comes twice counts double, and only where it comes twice (ordered)
SELECT m.id, COUNT(a.day) AS n FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
GROUP BY m.id ORDER BY n DESC, m.id DESC LIMIT 1;

-- the same where its owner declares no key of it (ordered)
SELECT t.meter_id, COUNT(a.day) AS n FROM health.main.admission a JOIN water.main.reading t ON t.meter_id = a.person
GROUP BY t.meter_id ORDER BY n DESC, t.meter_id DESC LIMIT 1;

-- the greatest of a group is the same however often a key comes (ordered)
SELECT m.id, MAX(a.cost) AS most FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
GROUP BY m.id ORDER BY most DESC NULLS FIRST LIMIT 1;

-- none of the greatest sums meets anything (ordered)
SELECT m.id, MAX(a.days) AS most FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
AND m.factor < m.factor * m.factor AND m.district = m.district GROUP BY m.id ORDER BY most DESC LIMIT 1;

-- too few of the greatest sums meet something (ordered)
SELECT m.id, MAX(a.days) AS most FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
AND m.factor * m.factor < m.factor + m.factor GROUP BY m.id ORDER BY most DESC LIMIT 2;

-- HAVING drops the greatest (ordered)
SELECT m.id, SUM(a.cost) AS total FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
AND m.id < 5 GROUP BY m.id HAVING SUM(a.cost) < 500 ORDER BY total DESC LIMIT 1;

-- another side decides among groups that tie with the last one (ordered)
SELECT m.id, m.district, MIN(a.days) AS least FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
GROUP BY m.id, m.district ORDER BY least DESC, m.district, m.id LIMIT 1;

-- NULLs first, with an offset (ordered)
SELECT m.id, MAX(a.days) AS most FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
GROUP BY m.id ORDER BY most NULLS FIRST, m.id OFFSET 1 LIMIT 1;

-- groups of the merge hold several of the summed side: its least is in no order (ordered)
SELECT m.district, MAX(a.days) AS most FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
GROUP BY m.district ORDER BY most, m.district LIMIT 1;

-- rows without a partner are one group (ordered)
SELECT m.id, COUNT(a.day) AS n FROM health.main.admission a LEFT JOIN water.main.meter m ON m.id = a.person
AND m.district = m.district AND m.factor * m.factor <> m.factor GROUP BY m.id ORDER BY n DESC LIMIT 1;

-- the summed side's key is not all that it is summed by (ordered)
SELECT m.id, SUM(a.days) AS total FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
AND m.factor * 100 > a.cost GROUP BY m.id ORDER BY total DESC, m.id LIMIT 1;

-- several greatest of one side, the second of which decides (ordered)
SELECT m.id, MAX(a.days) AS most, MIN(a.cost) AS least FROM health.main.admission a JOIN water.main.meter m
ON m.id = a.person GROUP BY m.id ORDER BY most DESC, least DESC LIMIT 1;

-- sums that are grouped by, whose groups are sorted by another side (ordered)
SELECT x.n, COUNT(*) AS meters FROM (SELECT person, COUNT(*) AS n FROM health.main.admission GROUP BY person) x
JOIN water.main.meter m ON m.id = x.person GROUP BY x.n ORDER BY x.n DESC LIMIT 1;

-- sums of a derived table lead a join that does not group (ordered)
SELECT x.total, m.district FROM (SELECT person, SUM(cost) AS total FROM health.main.admission GROUP BY person) x
JOIN water.main.meter m ON m.id = x.person ORDER BY x.total DESC, m.district LIMIT 1;

-- a third side multiplies the sums (ordered)
SELECT m.id, COUNT(a.day) AS n FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
AND m.district = m.district JOIN (VALUES (1), (3), (3), (3)) AS v(id) ON v.id = m.id GROUP BY m.id
ORDER BY n DESC LIMIT 1;

-- a relation of the same department multiplies the sums (ordered)
SELECT m.id, COUNT(*) AS n FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
AND m.district = m.district AND m.factor * m.factor <> m.factor JOIN water.main.reading t ON t.meter_id = m.id
GROUP BY m.id ORDER BY n DESC LIMIT 1;

-- a third side is met by a key of its own (ordered)
SELECT m.id, SUM(a.days) AS total, c.name FROM health.main.admission a JOIN water.main.meter m ON m.id = a.person
AND m.id < 5 JOIN market.main.company c ON c.id = m.company AND c.id < 'B3' GROUP BY m.id, c.name
ORDER BY total DESC LIMIT 1;

-- what an outer join may extend leads nothing (ordered)
SELECT m.id, MAX(a.days) AS most FROM water.main.meter m LEFT JOIN health.main.admission a ON m.id = a.person
GROUP BY m.id ORDER BY most DESC NULLS FIRST, m.id LIMIT 2;

-- a sum of doubles is not added again
SELECT m.id, SUM(s.kg) AS total FROM chemicals.main.stock s JOIN water.main.meter m ON m.company = s.company
AND m.id < 5 GROUP BY m.id ORDER BY total DESC, m.id LIMIT 1;
