-- sum over a join, grouped by the other side
SELECT c.district, SUM(r.m3) AS total
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- sum over a join, grouped by its own key
SELECT r.company, SUM(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY r.company;

-- sum, count, count of a column, min, max together
SELECT c.district, SUM(r.m3), COUNT(*), COUNT(r.m3), MIN(r.month), MAX(r.m3)
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- the same without GROUP BY
SELECT SUM(r.m3), COUNT(*), COUNT(r.m3), MIN(r.month), MAX(r.m3)
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company;

-- the same where no row is left
SELECT SUM(r.m3), COUNT(*), COUNT(r.m3), MIN(r.month)
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company WHERE r.m3 > 1000000;

-- count of nothing, then more arithmetic
SELECT COUNT(r.m3) + 1, 10 - COUNT(*), COUNT(r.note) = 0, SUM(r.m3) IS NULL
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company WHERE r.company = 'nobody';

-- duplicates on the other side multiply the sums
SELECT s.seller, SUM(r.m3), COUNT(*), COUNT(r.note)
FROM water.main.reading r JOIN market.main.sale s ON s.seller = r.company GROUP BY s.seller;

-- two zeros are one group, and still two texts
SELECT COALESCE(c.name, CAST(s.kg AS varchar(9))) AS kg, SUM(s.grams), COUNT(*)
FROM chemicals.main.stock s LEFT JOIN market.main.company c ON c.id = s.company AND c.score < s.kg
GROUP BY COALESCE(c.name, CAST(s.kg AS varchar(9)));

-- average
SELECT c.district, AVG(r.m3), AVG(c.staff) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- sums of both sides
SELECT c.district, SUM(r.m3), SUM(c.staff) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- count distinct
SELECT c.district, COUNT(DISTINCT r.company), COUNT(DISTINCT r.note) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- sum distinct beside a plain sum
SELECT c.district, SUM(DISTINCT r.m3), SUM(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- filter on the summed side
SELECT c.district, COUNT(*) FILTER (WHERE r.flag), SUM(r.m3) FILTER (WHERE r.m3 > 1), SUM(r.m3)
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- filter without groups
SELECT COUNT(*) FILTER (WHERE r.flag), COUNT(r.m3) FILTER (WHERE r.m3 > 1000000)
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company;

-- filter on the other side
SELECT COUNT(*) FILTER (WHERE c.staff = 10), SUM(r.m3) FILTER (WHERE c.staff = 10)
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company;

-- CASE sums
SELECT c.district, SUM(CASE WHEN r.flag THEN r.m3 ELSE 0 END), SUM(CASE WHEN r.m3 > 5 THEN 1 END)
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- CASE sums over both sides
SELECT SUM(CASE WHEN c.staff = 10 THEN r.m3 ELSE 0 END) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company;

-- products of both sides
SELECT c.district, SUM(r.m3 * c.staff) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- group by an expression of the summed side
SELECT year(r.month), month(r.month), SUM(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY year(r.month), month(r.month);

-- group by an expression of both sides
SELECT c.district || '/' || r.note, COUNT(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY c.district || '/' || r.note;

-- group by a CASE whose branches read one side each
SELECT CASE WHEN s.year = 2024 THEN s.company WHEN c.staff = 10 THEN 'ten' END AS g, SUM(s.kg)
FROM chemicals.main.stock s JOIN market.main.company c ON c.id = s.company
GROUP BY CASE WHEN s.year = 2024 THEN s.company WHEN c.staff = 10 THEN 'ten' END;

-- group by IF, shown through an equal CASE
SELECT IF(s.kg > 1, s.company), SUM(s.kg)
FROM chemicals.main.stock s JOIN market.main.company c ON c.id = s.company
GROUP BY IF(s.kg > 1, s.company), CASE WHEN s.kg > 1 THEN s.company WHEN c.staff = 10 THEN c.name END;

-- group by position
SELECT c.district AS d, COUNT(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY 1;

-- group by NULLs of both sides
SELECT r.note, c.district, COUNT(r.company), SUM(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY r.note, c.district;

-- group by a key that is not shown
SELECT SUM(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY c.district, r.note;

-- group without aggregates
SELECT c.district, r.note FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY c.district, r.note;

-- having on a sum
SELECT c.district, SUM(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY c.district HAVING SUM(r.m3) > 10;

-- having on a count that is not shown
SELECT c.district FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY c.district HAVING COUNT(r.m3) > 1 AND MIN(r.m3) < 5;

-- having on a key
SELECT c.district, COUNT(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY c.district HAVING c.district <> 'north';

-- having without groups
SELECT COUNT(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company HAVING COUNT(r.m3) > 100;

-- expressions over aggregates, in order (ordered)
SELECT c.district, SUM(r.m3) / COUNT(*) AS mean, MAX(r.m3) - MIN(r.m3) AS spread
FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY c.district ORDER BY SUM(r.m3) DESC NULLS LAST, c.district NULLS LAST;

-- order by the alias of a sum (ordered)
SELECT c.district AS d, SUM(r.m3) AS s FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY c.district ORDER BY s DESC, d LIMIT 2;

-- sums of integers, bigints and doubles
SELECT c.district, SUM(s.qty), SUM(k.kg), SUM(k.year) FROM market.main.sale s
JOIN chemicals.main.stock k ON k.company = s.seller JOIN water.main.meter c ON c.company = s.seller
GROUP BY c.district;

-- sums of a double on one side
SELECT c.name, SUM(k.kg), COUNT(k.kg), MIN(k.kg), MAX(k.year) FROM chemicals.main.stock k
JOIN market.main.company c ON c.id = k.company GROUP BY c.name;

-- left join: sums of the preserved side
SELECT c.district, SUM(r.m3), COUNT(r.m3) FROM water.main.reading r
LEFT JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- left join: sums of the null-extended side
SELECT c.district, SUM(r.m3), COUNT(r.m3), COUNT(*) FROM market.main.company c
LEFT JOIN water.main.reading r ON c.id = r.company GROUP BY c.district;

-- right join: sums of the preserved side
SELECT c.district, SUM(r.m3), COUNT(r.m3) FROM market.main.company c
RIGHT JOIN water.main.reading r ON c.id = r.company GROUP BY c.district;

-- full join: sums of either side
SELECT c.district, SUM(r.m3), COUNT(r.m3) FROM market.main.company c
FULL JOIN water.main.reading r ON c.id = r.company GROUP BY c.district;

-- left join with a condition on the summed side in ON
SELECT c.district, SUM(r.m3), COUNT(r.company) FROM water.main.reading r
LEFT JOIN market.main.company c ON c.id = r.company AND r.m3 > 5 GROUP BY c.district;

-- conditions on the summed side, in WHERE and ON
SELECT c.district, SUM(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company AND r.flag WHERE r.m3 > 0 AND c.staff IS NOT NULL GROUP BY c.district;

-- a condition over both sides needs another key
SELECT c.district, SUM(r.m3), COUNT(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company WHERE r.month > c.founded OR r.note = c.name GROUP BY c.district;

-- non-equi join under sums
SELECT c.id, SUM(r.m3), COUNT(r.m3) FROM water.main.reading r
JOIN market.main.company c ON r.month > c.founded GROUP BY c.id;

-- cross join under sums, grouped by the other side
SELECT w.district, SUM(r.m3), COUNT(r.m3) FROM water.main.reading r CROSS JOIN health.main.ward w GROUP BY w.district;

-- cross join of an empty relation under sums, grouped by the other side
SELECT w.district, SUM(t.price), COUNT(t.price) FROM water.main.tariff t CROSS JOIN health.main.ward w
GROUP BY w.district;

-- cross join of an empty relation under sums, without groups
SELECT SUM(t.price), COUNT(t.price) FROM water.main.tariff t CROSS JOIN health.main.ward w;

-- group by a constant over an empty join
SELECT 'all' AS label, SUM(t.price) FROM water.main.tariff t JOIN health.main.ward w ON w.district = t.district
GROUP BY 'all';

-- three departments under sums of one
SELECT c.district, a.cause, SUM(r.m3), COUNT(r.m3)
FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company
JOIN health.main.admission a ON a.company = c.id
GROUP BY c.district, a.cause;

-- sums over a self join
SELECT c.district, SUM(r.m3) FROM water.main.reading r
JOIN water.main.reading q ON q.company = r.company
JOIN market.main.company c ON c.id = q.company GROUP BY c.district;

-- rollup
SELECT c.district, r.flag, SUM(r.m3), GROUPING(c.district, r.flag) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY ROLLUP (c.district, r.flag);

-- grouping sets
SELECT c.district, r.flag, COUNT(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY GROUPING SETS ((c.district), (r.flag), ());

-- cube
SELECT c.district, r.flag, COUNT(r.m3) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY CUBE (c.district, r.flag);

-- distinct over an aggregation
SELECT DISTINCT COUNT(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY c.id;

-- aggregates of a projection over a join: opens up
SELECT d.district, SUM(d.m3), COUNT(d.m3) FROM
  (SELECT r.m3, r.flag, c.district FROM water.main.reading r JOIN market.main.company c ON c.id = r.company) d
WHERE d.flag IS NOT NULL GROUP BY d.district;

-- the same with computed columns
SELECT d.y, SUM(d.double_m3) FROM
  (SELECT r.m3 * 2 AS double_m3, year(r.month) AS y FROM water.main.reading r
   JOIN market.main.company c ON c.id = r.company WHERE c.staff >= 0) d
GROUP BY d.y;

-- the same, grouped by a constant that is no position
SELECT SUM(d.kg), d.src FROM
  (SELECT 1 AS src, s.kg FROM chemicals.main.stock s JOIN market.main.company c ON c.id = s.company) d
GROUP BY d.src;

-- the same, ordered by a constant that is no position (ordered)
SELECT COUNT(d.kg), d.company, d.src FROM
  (SELECT 3 AS src, s.kg, s.company FROM chemicals.main.stock s JOIN market.main.company c ON c.id = s.company) d
GROUP BY d.company, d.src ORDER BY d.src, d.company;

-- the same, with a later left join
SELECT d.district, SUM(d.m3), COUNT(w.id) FROM
  (SELECT r.m3, c.district FROM water.main.reading r JOIN market.main.company c ON c.id = r.company WHERE r.m3 > 0) d
LEFT JOIN health.main.ward w ON w.district = d.district GROUP BY d.district;

-- the same, with a later right join: stays closed
SELECT w.district, SUM(d.m3), COUNT(w.id) FROM
  (SELECT r.m3, c.district FROM water.main.reading r JOIN market.main.company c ON c.id = r.company WHERE r.m3 > 5) d
RIGHT JOIN health.main.ward w ON w.district = d.district GROUP BY w.district;

-- the same, with a later full join: stays closed
SELECT w.district, d.district, SUM(d.m3), COUNT(w.id) FROM
  (SELECT r.m3, c.district FROM water.main.reading r JOIN market.main.company c ON c.id = r.company WHERE r.m3 > 5) d
FULL JOIN health.main.ward w ON w.district = d.district GROUP BY w.district, d.district;

-- the same over an outer join inside
SELECT d.district, SUM(d.m3), COUNT(*) FROM
  (SELECT r.m3, c.district FROM market.main.company c LEFT JOIN water.main.reading r ON c.id = r.company) d
GROUP BY d.district;

-- unnested arrays beside sums
SELECT t.tag, SUM(j.hours) FROM works.main.job j JOIN market.main.company c ON c.id = j.company
CROSS JOIN UNNEST(j.tags) AS t (tag) GROUP BY t.tag;

-- aggregate of an aggregate
SELECT MAX(d.total), COUNT(d.total) FROM
  (SELECT c.district, SUM(r.m3) AS total FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
   GROUP BY c.district) d;

-- stddev and bool aggregates
SELECT c.district, bool_or(r.flag), every(r.m3 > 0) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- aggregates of a projection over a join with a limit: stays closed
SELECT d.district, SUM(d.m3), COUNT(*) FROM
  (SELECT r.m3, c.district FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
   ORDER BY r.m3 DESC NULLS LAST, c.id, c.name LIMIT 4) d GROUP BY d.district;

-- aggregates of distinct rows of a join: stays closed
SELECT d.district, SUM(d.m3), COUNT(*) FROM
  (SELECT DISTINCT r.m3, c.district FROM water.main.reading r JOIN market.main.company c ON c.id = r.company) d
GROUP BY d.district;

-- aggregates of aggregates of a join: stays closed
SELECT d.district, SUM(d.total), COUNT(*) FROM
  (SELECT c.district, r.note, SUM(r.m3) AS total FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
   GROUP BY c.district, r.note) d GROUP BY d.district;

-- count distinct of one side alone
SELECT c.district, COUNT(DISTINCT r.note) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY c.district;

-- sum distinct without groups
SELECT SUM(DISTINCT r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company;

-- rollup of the summed side alone
SELECT r.note, SUM(r.m3), COUNT(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY ROLLUP (r.note);

-- a key beside a cube
SELECT r.note, r.flag, SUM(r.m3), COUNT(r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY r.note, CUBE (r.flag);

-- having without the table's name, on a column that is not shown
SELECT r.company FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
GROUP BY r.company HAVING SUM(m3) > 10;

-- having without the table's name, through a derived table
SELECT district, COUNT(*) FROM (SELECT c.district, r.m3 FROM water.main.reading r JOIN market.main.company c ON c.id = r.company) d
GROUP BY district HAVING SUM(m3) > 1;

-- having on an alias's name: the column is meant, not the output
SELECT COUNT(note) AS note, COUNT(*) FROM water.main.reading JOIN market.main.company ON id = company
GROUP BY flag HAVING COUNT(note) > 1;

-- having on a key that USING merged (ordered)
SELECT company FROM water.main.reading r JOIN chemicals.main.stock s USING (company)
GROUP BY company HAVING company > 'B' ORDER BY company;

-- what a CASE guards is not computed for the rows it keeps out
SELECT CASE WHEN s.qty <> 0 THEN 100 / s.qty + length(m.company) END, SUM(s.amount)
FROM market.main.sale s JOIN water.main.meter m ON m.company = s.buyer GROUP BY 1;

-- nor is what an OR or a COALESCE guards
SELECT COALESCE(m.id, 100 / NULLIF(s.qty, 0)), SUM(s.amount) FROM market.main.sale s
JOIN water.main.meter m ON m.company = s.buyer AND (s.qty = 0 OR 100 / s.qty > m.id) GROUP BY 1;

-- rows that meet nothing divide by zero and hold no number; nobody asks them to
SELECT c.district, SUM(1 / r.m3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.note
GROUP BY c.district;

-- nor where they are grouped by what fails for them
SELECT CAST(1 / r.m3 AS varchar), SUM(r.m3), COUNT(*) FROM water.main.reading r
JOIN market.main.company c ON c.id = r.note GROUP BY CAST(1 / r.m3 AS varchar);

-- rows counted alone
SELECT c.district, COUNT(*) AS n FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY c.district;

-- rows counted alone, without groups
SELECT COUNT(*), COUNT(1), SUM(2), MAX(3) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company;

-- rows counted alone, where nothing meets
SELECT COUNT(*) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company AND c.staff = 12345;

-- rows counted alone, of groups that nothing meets
SELECT c.district, COUNT(*) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company AND c.staff = 12345
GROUP BY c.district;

-- rows counted alone, over a left join's preserved side
SELECT r.flag, COUNT(*) AS n FROM water.main.reading r LEFT JOIN market.main.company c ON c.id = r.company GROUP BY r.flag;

-- rows counted alone, the null-extended side is the larger
SELECT d.district, COUNT(*) AS n FROM market.main.code k LEFT JOIN health.main.admission d ON d.company = k.company
GROUP BY d.district;

-- rows counted alone, null-extended by a later right join
SELECT w.id, COUNT(*) AS n FROM water.main.reading r JOIN market.main.code k ON k.company = r.company
RIGHT JOIN health.main.ward w ON w.id = k.code GROUP BY w.id;

-- rows counted alone, compared in HAVING and ordered by their count (ordered)
SELECT c.district, COUNT(*) AS n FROM water.main.reading r JOIN market.main.company c ON c.id = r.company GROUP BY c.district
HAVING COUNT(*) > 1 ORDER BY COUNT(*) DESC, c.district NULLS LAST;

-- rows counted alone, of three sources
SELECT c.district, COUNT(*) AS n FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
JOIN health.main.admission a ON a.company = r.company GROUP BY c.district;

-- rows counted alone, met by an inequality
SELECT c.district, COUNT(*) AS n FROM water.main.reading r JOIN market.main.company c ON c.id <> r.company GROUP BY c.district;

-- groups beside the sum of all rows (ordered)
SELECT r.company, SUM(r.m3) AS m3 FROM water.main.reading r WHERE r.flag GROUP BY r.company
HAVING SUM(r.m3) > (SELECT SUM(x.m3) * 0.0001 FROM water.main.reading x WHERE x.flag) ORDER BY m3 DESC;

-- groups beside the count of all rows
SELECT r.company FROM water.main.reading r JOIN water.main.meter m ON m.id = r.meter_id GROUP BY r.company
HAVING COUNT(*) * 2 > (SELECT COUNT(*) - MIN(y.factor) - 3 FROM water.main.reading x JOIN water.main.meter y
ON y.id = x.meter_id);

-- groups beside the sum of other rows
SELECT r.company, SUM(r.m3) FROM water.main.reading r GROUP BY r.company
HAVING SUM(r.m3) < (SELECT SUM(x.m3) FROM water.main.reading x WHERE x.m3 < 8);

-- groups beside an average of all rows
SELECT r.company, COUNT(*) AS n FROM water.main.reading r GROUP BY r.company
HAVING AVG(r.m3) > (SELECT AVG(x.m3) FROM water.main.reading x) ORDER BY n LIMIT 5;

-- groups beside the count of their own key elsewhere
SELECT r.company, COUNT(*) FROM water.main.reading r GROUP BY r.company
HAVING COUNT(*) > (SELECT COUNT(*) FROM water.main.meter m WHERE m.company = r.company);

-- one group of no rows beside their sum
SELECT COUNT(*), SUM(r.m3) FROM water.main.reading r WHERE r.note = 'nothing'
HAVING COUNT(*) = (SELECT COUNT(*) FROM water.main.reading x WHERE x.note = 'nothing');

-- HAVING that asks a window over groups of its own
SELECT 1 AS one FROM water.main.reading HAVING (SELECT MAX(x.w) FROM (SELECT SUM(SUM(factor)) OVER () AS w
FROM water.main.meter GROUP BY company) x) > 1;

-- parts of a lambda: one of its names is a column too
SELECT j.company, COUNT(*) FROM water.main.reading r JOIN works.main.job j ON j.company = r.company
WHERE none_match(j.tags, note -> note = r.note) GROUP BY j.company;

-- parts of a pattern with ESCAPE
SELECT c.district, COUNT(*) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
AND (r.note NOT LIKE '#x%' ESCAPE '#' OR c.staff > 9) GROUP BY c.district;

-- parts of TRY, too large for their type
SELECT c.district, COUNT(*) FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
AND COALESCE(TRY(r.meter_id * 9223372036854775807), c.staff) > -9 GROUP BY c.district;

-- cube of a projection over a join that shows a column twice: stays closed
SELECT d.x, d.y, GROUPING(d.x, d.y), COUNT(*) FROM (SELECT c.district AS x, c.district AS y FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company) d GROUP BY CUBE (d.x, d.y);

-- grouping sets of a WITH query over a join that shows a column twice: stays closed
WITH d AS (SELECT c.district AS x, c.district AS y FROM water.main.reading r JOIN market.main.company c
ON c.id = r.company) SELECT d.x, d.y, COUNT(*) FROM d GROUP BY GROUPING SETS ((d.x), (d.y));
