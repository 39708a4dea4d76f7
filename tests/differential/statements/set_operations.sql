-- union all over two departments
SELECT id FROM market.main.company UNION ALL SELECT company FROM water.main.meter;

-- union removes duplicates, NULL counts once
SELECT id, district FROM market.main.company UNION SELECT company, district FROM water.main.meter;

-- intersect
SELECT id FROM market.main.company INTERSECT SELECT company FROM water.main.reading;

-- except
SELECT id FROM market.main.company EXCEPT SELECT company FROM water.main.reading;

-- intersect all
SELECT id FROM market.main.company INTERSECT ALL SELECT company FROM water.main.reading;

-- except all
SELECT company FROM water.main.reading EXCEPT ALL SELECT id FROM market.main.company;

-- intersect binds tighter than union
SELECT id FROM market.main.company UNION SELECT company FROM water.main.reading INTERSECT SELECT company FROM chemicals.main.stock;

-- brackets change that
(SELECT id FROM market.main.company UNION SELECT company FROM water.main.reading) INTERSECT SELECT company FROM chemicals.main.stock;

-- three arms of one department
SELECT id FROM market.main.company UNION ALL SELECT seller FROM market.main.sale UNION ALL SELECT company FROM market.main.code;

-- arms of one department and one of another
SELECT id FROM market.main.company UNION ALL SELECT seller FROM market.main.sale UNION ALL SELECT company FROM water.main.meter;

-- an arm that joins departments
SELECT c.id, m.id AS n FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
UNION ALL SELECT company, year FROM chemicals.main.stock;

-- order and limit over a union (ordered)
SELECT id AS k, name AS n FROM market.main.company UNION ALL SELECT company, note FROM water.main.reading
ORDER BY k NULLS FIRST, n NULLS FIRST LIMIT 9;

-- order by position over a union (ordered)
SELECT id, name FROM market.main.company UNION SELECT company, note FROM water.main.reading ORDER BY 2, 1 OFFSET 1 LIMIT 5;

-- order and limit within arms
(SELECT id FROM market.main.company ORDER BY id, name LIMIT 2) UNION ALL (SELECT company FROM water.main.meter ORDER BY company, id LIMIT 3);

-- order and limit within arms of one department
(SELECT id FROM market.main.company ORDER BY id LIMIT 2) UNION ALL (SELECT seller FROM market.main.sale ORDER BY seller, day LIMIT 2);

-- order and limit over arms of one department (ordered)
SELECT id AS k FROM market.main.company UNION ALL SELECT seller FROM market.main.sale ORDER BY k DESC NULLS LAST LIMIT 5;

-- two outputs of one name over arms of one department
SELECT id AS x, name AS x FROM market.main.company UNION ALL SELECT parent, district FROM market.main.company;

-- two outputs of one name over arms of two departments
SELECT id AS x, name AS x FROM market.main.company UNION ALL SELECT company, district FROM water.main.meter;

-- arms of different number types
SELECT id FROM health.main.ward UNION ALL SELECT kg FROM chemicals.main.stock;

-- arms of different decimals
SELECT factor AS v FROM water.main.meter UNION ALL SELECT amount FROM market.main.sale UNION ALL SELECT hours FROM works.main.job;

-- arms of integer and bigint, duplicates across types
SELECT staff FROM market.main.company UNION SELECT id FROM health.main.ward;

-- a condition above arms of different types: division differs
SELECT u.v FROM (SELECT m.id AS v FROM water.main.meter m UNION ALL SELECT s.kg FROM chemicals.main.stock s) u
WHERE u.v / 2 > 1.2e0;

-- a condition above arms of different decimals
SELECT u.v FROM (SELECT factor AS v FROM water.main.meter UNION ALL SELECT amount FROM market.main.sale) u
WHERE u.v / 3 > 0.166;

-- a condition above a union goes into both arms
SELECT u.k, u.src FROM (SELECT id AS k, 'market' AS src FROM market.main.company
  UNION ALL SELECT company, 'water' FROM water.main.meter) u WHERE u.k > 'A1';

-- a condition above a union on a constant
SELECT u.k FROM (SELECT id AS k, 'market' AS src FROM market.main.company
  UNION ALL SELECT company, 'water' FROM water.main.meter) u WHERE u.src = 'water';

-- a condition above a distinct union
SELECT u.k FROM (SELECT id AS k FROM market.main.company UNION SELECT company FROM water.main.meter) u WHERE u.k LIKE 'A%';

-- a condition above intersect
SELECT u.k FROM (SELECT id AS k FROM market.main.company INTERSECT SELECT company FROM water.main.meter) u WHERE u.k > 'A1';

-- a condition above except
SELECT u.k FROM (SELECT id AS k FROM market.main.company EXCEPT SELECT company FROM water.main.meter) u WHERE u.k > 'A1';

-- a condition above except, true for NULL
SELECT u.k FROM (SELECT company AS k FROM water.main.reading EXCEPT ALL SELECT id FROM market.main.company) u
WHERE u.k IS NULL OR u.k > 'B';

-- a condition above a union whose arms name the column differently
SELECT u.a, u.b FROM (SELECT id AS a, district AS b FROM market.main.company
  UNION ALL SELECT district AS b, company AS a FROM water.main.meter) u WHERE u.a > 'a';

-- a condition above a union with a limit
SELECT u.k FROM (SELECT id AS k FROM market.main.company UNION ALL SELECT company FROM water.main.meter ORDER BY k LIMIT 4) u
WHERE u.k <> 'A1';

-- a condition above a union with a limit in an arm
SELECT u.k FROM ((SELECT id AS k FROM market.main.company ORDER BY id LIMIT 3) UNION ALL SELECT company FROM water.main.meter) u
WHERE u.k <> 'A1';

-- a condition above a union with an aggregation in an arm
SELECT u.k, u.n FROM (SELECT company AS k, COUNT(*) AS n FROM water.main.reading GROUP BY company
  UNION ALL SELECT id, staff FROM market.main.company) u WHERE u.k = 'A1' AND u.n > 1;

-- a condition above a union with a window in an arm
SELECT u.k, u.n FROM (SELECT company AS k, ROW_NUMBER() OVER (ORDER BY company, month, meter_id, m3, note) AS n FROM water.main.reading
  UNION ALL SELECT id, staff FROM market.main.company) u WHERE u.k = 'B2';

-- a union joined with another department
SELECT u.k, a.person FROM (SELECT id AS k FROM market.main.company UNION SELECT company FROM water.main.meter) u
JOIN health.main.admission a ON a.company = u.k;

-- a union under an aggregation
SELECT u.k, COUNT(*), SUM(u.v) FROM (SELECT company AS k, m3 AS v FROM water.main.reading
  UNION ALL SELECT seller, amount FROM market.main.sale) u GROUP BY u.k;

-- only one column of a union is read
SELECT u.k FROM (SELECT company AS k, m3 AS v FROM water.main.reading UNION SELECT seller, amount FROM market.main.sale) u;

-- a union in a subquery
SELECT a.person FROM health.main.admission a
WHERE a.company IN (SELECT id FROM market.main.company WHERE staff = 10 UNION ALL SELECT company FROM water.main.reading WHERE m3 > 5);

-- NULL in one arm only
SELECT id, CAST(NULL AS varchar) AS note FROM market.main.company UNION ALL SELECT company, note FROM water.main.reading;

-- an untyped NULL in one arm
SELECT id, NULL AS note FROM market.main.company UNION ALL SELECT company, note FROM water.main.reading;

-- an arm that is empty
SELECT district FROM water.main.tariff UNION ALL SELECT district FROM health.main.ward;

-- except from an empty relation
SELECT district FROM health.main.closed EXCEPT SELECT district FROM water.main.meter;

-- values as an arm
SELECT id, staff FROM market.main.company UNION ALL VALUES ('V1', 1), ('V2', NULL);

-- four arms, nested in brackets
(SELECT id FROM market.main.company EXCEPT SELECT company FROM water.main.meter)
UNION ALL (SELECT company FROM chemicals.main.stock INTERSECT SELECT company FROM health.main.admission);

-- a condition above arms whose texts are padded to different lengths
SELECT u.v, LENGTH(u.v) FROM (SELECT CAST(id AS char(3)) AS v FROM market.main.company UNION ALL
SELECT CAST(company AS char(5)) FROM water.main.meter) u WHERE LENGTH(u.v) = 5;

-- a condition above arms of different scales, one of them computed
SELECT u.v FROM (SELECT hours AS v FROM works.main.job UNION ALL SELECT hours * 0.50 FROM works.main.job) u
WHERE CAST(u.v AS varchar) = '2.000';

-- a padded text above arms of texts of different lengths
SELECT u.v FROM (SELECT CAST(note AS varchar(2)) AS v FROM water.main.reading UNION ALL
SELECT CAST(id AS varchar(5)) FROM market.main.company) u
WHERE LENGTH(COALESCE(u.v, CAST('x' AS char(1)))) = 5;

-- a condition above arms of computed numbers
SELECT u.v, CAST(u.v AS varchar) FROM (SELECT staff + 1 AS v FROM market.main.company UNION ALL SELECT factor * 2 FROM
water.main.meter) u WHERE CAST(u.v AS varchar) IN ('2.000', '11.000');

-- a condition above arms of choices
SELECT u.v, CAST(u.v AS varchar) FROM (SELECT CASE WHEN staff > 5 THEN staff ELSE revenue END AS v FROM
market.main.company UNION ALL SELECT CASE WHEN id > 2 THEN factor ELSE id END FROM water.main.meter WHERE id < 9) u
WHERE CAST(u.v AS varchar) IN ('2.000', '10.000', '1.000');

-- a condition above arms of one computed type
SELECT u.v FROM (SELECT staff * 2 + 4 AS v FROM market.main.company UNION ALL SELECT CASE WHEN id > 2 THEN 24 ELSE NULL
END FROM water.main.meter UNION ALL SELECT COALESCE(k.code, 1) + r.n FROM market.main.code k CROSS JOIN (VALUES (0), (23))
AS r (n)) u WHERE u.v = 24;

-- a condition above arms that are parts of texts
SELECT u.v FROM (SELECT UPPER(name) AS v FROM market.main.company UNION ALL SELECT SUBSTR(note, 1, 1) FROM
water.main.reading UNION ALL SELECT LOWER(CAST(district AS char(5))) FROM water.main.meter) u WHERE u.v IN ('X', 'ACME',
'x', 'east', 'east ');
