-- sums of a relation that gives sums only
SELECT district, SUM(riders), COUNT(*) FROM housing.main.trip GROUP BY district;

-- without groups
SELECT SUM(riders), COUNT(*) FROM housing.main.trip;

-- with a condition on a dimension
SELECT hour, SUM(km) FROM housing.main.trip WHERE district = 'north' GROUP BY hour;

-- expressions, having, order and limit above (ordered)
SELECT district, SUM(riders) * 2 AS twice, SUM(km) / COUNT(*) AS mean FROM housing.main.trip
GROUP BY district HAVING COUNT(*) > 1 AND SUM(riders) > 0 ORDER BY twice DESC, district LIMIT 5;

-- a window over the sums
SELECT district, SUM(riders), RANK() OVER (ORDER BY SUM(riders) DESC NULLS LAST), SUM(SUM(riders)) OVER ()
FROM housing.main.trip GROUP BY district;

-- a window with a function of the same text as an aggregate
SELECT hour, SUM(hour), SUM(hour) OVER (), COUNT(*), COUNT(*) FILTER (WHERE hour > 8) OVER () FROM housing.main.trip GROUP BY hour;

-- distinct over the sums
SELECT DISTINCT COUNT(*) FROM housing.main.trip GROUP BY district, hour;

-- joined with another department
SELECT t.district, t.n, w.beds FROM (SELECT district, SUM(riders) AS n FROM housing.main.trip GROUP BY district) t
JOIN health.main.ward w ON w.district = t.district;

-- joined with another department, restricted above
SELECT t.district, t.n, w.beds FROM (SELECT district, SUM(riders) + 1 AS n FROM housing.main.trip GROUP BY district) t
LEFT JOIN health.main.ward w ON w.district = t.district WHERE t.n > 1 AND t.district = 'north';

-- in a CTE used twice
WITH t AS (SELECT district, SUM(riders) AS n FROM housing.main.trip GROUP BY district)
SELECT a.district, b.n FROM t a JOIN t b ON b.n >= a.n;

-- as an arm of a union
SELECT district, SUM(riders) AS n FROM housing.main.trip GROUP BY district
UNION ALL SELECT district, SUM(beds) FROM health.main.ward GROUP BY district;

-- as a subquery
SELECT w.id FROM health.main.ward w WHERE w.district IN (SELECT district FROM housing.main.trip GROUP BY district HAVING SUM(riders) > 1);

-- verify among the outputs, duplicates and NULL among the keys
SELECT a.person, verify('housing.main.owner', a.person) AS known FROM health.main.admission a;

-- verify in WHERE
SELECT a.person FROM health.main.admission a WHERE verify('housing.main.owner', a.person) AND a.days > 0;

-- verify in WHERE, negated
SELECT a.person FROM health.main.admission a WHERE NOT verify('housing.main.owner', a.person);

-- verify as a group
SELECT verify('housing.main.owner', a.person) AS known, COUNT(*) FROM health.main.admission a
GROUP BY verify('housing.main.owner', a.person);

-- verify of a group's key
SELECT a.person, verify('housing.main.owner', a.person), COUNT(*) FROM health.main.admission a GROUP BY a.person;

-- verify in a sum
SELECT SUM(CASE WHEN verify('housing.main.owner', a.person) THEN a.cost END) FROM health.main.admission a
JOIN market.main.company c ON c.id = a.company;

-- verify over a join of departments
SELECT m.id, c.name FROM water.main.meter m JOIN market.main.company c ON c.id = m.company WHERE verify('housing.main.owner', m.id);

-- verify two keys
SELECT a.person, m.id FROM health.main.admission a JOIN water.main.meter m ON m.company = a.company
WHERE verify('housing.main.owner', a.person) OR verify('housing.main.owner', m.id);

-- verify over a CTE that is used twice
WITH p AS (SELECT person FROM health.main.admission WHERE days > 0)
SELECT x.person, verify('housing.main.owner', x.person) FROM p x JOIN p y ON y.person = x.person;

-- verify in a CTE, restricted above
WITH p AS (SELECT person, verify('housing.main.owner', person) AS ok FROM health.main.admission)
SELECT p.person FROM p WHERE p.ok;

-- verify a literal, and NULL
SELECT verify('housing.main.owner', 2), verify('housing.main.owner', 3), verify('housing.main.owner', CAST(NULL AS bigint));

-- verify over nothing
SELECT verify('housing.main.owner', x.id) FROM health.main.closed x;
