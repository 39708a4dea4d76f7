-- labels as typed
SELECT C.Id, c.NAME AS TheName, c."district" FROM market.main.company AS C JOIN water.main.meter M ON M.Company = C.ID;

-- expressions without a name
SELECT c.id, c.staff + 1, UPPER(c.name), 'x', 1, NULL FROM market.main.company c JOIN water.main.meter m ON m.company = c.id;

-- an expression after a star counts the star's columns
SELECT k.*, k.code + 1, m.id FROM market.main.code k JOIN water.main.meter m ON m.company = k.company;

-- a star over a join
SELECT * FROM market.main.company c JOIN water.main.meter m ON m.company = c.id;

-- stars of each table, in another order
SELECT m.*, c.* FROM market.main.company c JOIN water.main.meter m ON m.company = c.id;

-- a star over a subquery with unnamed outputs
SELECT * FROM (SELECT m.id / 2, 'x', m.company FROM water.main.meter m) d JOIN market.main.company c ON c.id = d.company;

-- a star over a CTE
WITH d AS (SELECT company AS who, COUNT(*) FROM water.main.reading GROUP BY company)
SELECT * FROM d JOIN market.main.code k ON k.company = d.who;

-- one column twice
SELECT c.id, c.id, m.company AS id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id;

-- two outputs of one name in one department
SELECT id AS x, name AS x, staff AS x FROM market.main.company;

-- quoted names with blanks, quotes and letters beyond ASCII
SELECT c.id AS "größe", c.name AS "a ""b"" c", m.id AS "SELECT" FROM market.main.company c JOIN water.main.meter m ON m.company = c.id;

-- quoted names inside, one department
SELECT d."a b", d."größe", d."from" FROM (SELECT id AS "a b", name AS "größe", staff AS "from" FROM market.main.company) d
WHERE d."a b" > 'A1';

-- quoted names inside, two departments
SELECT d."a b", d."from" FROM (SELECT c.id AS "a b", m.id AS "from" FROM market.main.company c JOIN water.main.meter m ON m.company = c.id) d
WHERE d."from" > 1;

-- quoted names in a union, order by one of them (ordered)
SELECT d."größe" || 'x' AS "y z" FROM (SELECT id AS "größe", name AS "select" FROM market.main.company
  UNION ALL SELECT company, district FROM water.main.meter ORDER BY "größe", "select" LIMIT 5) d
WHERE d."select" <> 'q' ORDER BY "y z";

-- quoted names in a union of one department (ordered)
SELECT id AS "a b" FROM market.main.company UNION ALL SELECT seller FROM market.main.sale ORDER BY "a b" NULLS FIRST;

-- quoted names of a CTE and of its columns
WITH "my cte" ("k 1", "k 2") AS (SELECT company, m3 FROM water.main.reading)
SELECT x."k 1", y."k 2" FROM "my cte" x JOIN "my cte" y ON y."k 1" = x."k 1" JOIN market.main.company c ON c.id = x."k 1";

-- quoted names of values
SELECT v."x y", c.name FROM (VALUES ('A1'), ('B2')) AS v ("x y") JOIN market.main.company c ON c.id = v."x y";

-- quoted aliases of tables
SELECT "c 1".id, "c 2".id FROM market.main.company "c 1" JOIN water.main.meter "c 2" ON "c 2".company = "c 1".id;

-- o0 is taken
SELECT d."a b", d.o0 FROM (SELECT id AS "a b", name AS o0 FROM market.main.company) d JOIN water.main.meter m ON m.company = d."a b";

-- an output name that is also a column: order takes the output (ordered)
SELECT -m.id AS id, c.id AS company FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
ORDER BY id, company, c.name;

-- an output name that is also a column: group takes the column
SELECT UPPER(c.district) AS district, COUNT(*) FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
GROUP BY c.district;

-- an output name that is also a column: WHERE takes the column
SELECT UPPER(c.id) AS name FROM market.main.company c JOIN water.main.meter m ON m.company = c.id WHERE name = 'Acme';

-- order by an alias in one department (ordered)
SELECT staff * -1 AS id, id AS staff FROM market.main.company WHERE id IS NOT NULL ORDER BY id, staff, name;

-- order by the alias of an aggregate in one department (ordered)
SELECT district AS d, COUNT(*) AS district FROM market.main.company GROUP BY district ORDER BY district DESC, d;

-- names without their table
SELECT name, m3, month FROM market.main.company JOIN water.main.reading ON company = id;

-- names by their full table
-- as: SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
SELECT market.main.company.id, water.main.meter.id FROM market.main.company JOIN water.main.meter ON water.main.meter.company = market.main.company.id;

-- the label of a subquery
SELECT c.id, (SELECT MAX(m3) FROM water.main.reading) AS "Most", (SELECT MIN(m3) FROM water.main.reading) FROM market.main.company c;

-- an output name within an expression of the order: the output is meant (ordered)
-- as: SELECT -m.id AS id FROM water.main.meter m JOIN market.main.company c ON c.id = m.company WHERE m.id < 100 ORDER BY -m.id + 0
SELECT -m.id AS id FROM water.main.meter m JOIN market.main.company c ON c.id = m.company WHERE m.id < 100 ORDER BY id + 0;

-- the name of a sum within an expression of the order (ordered)
-- as: SELECT SUM(m3) AS m3 FROM water.main.reading JOIN market.main.company ON id = company GROUP BY district ORDER BY SUM(m3) + 1
SELECT SUM(m3) AS m3 FROM water.main.reading JOIN market.main.company ON id = company GROUP BY district ORDER BY m3 + 1;

-- the name of a sum within an expression of the order, one department (ordered)
-- as: SELECT SUM(m3) AS m3 FROM water.main.reading GROUP BY flag ORDER BY -SUM(m3)
SELECT SUM(m3) AS m3 FROM water.main.reading GROUP BY flag ORDER BY -m3;

-- columns without their table in every clause (ordered)
SELECT name, SUM(m3) OVER (PARTITION BY flag) AS s FROM water.main.reading JOIN market.main.company ON id = company
WHERE flag AND staff >= 0 AND note IS NULL ORDER BY staff DESC, m3, name, month;

-- a relation with column names of its own
SELECT m.who, m.n, c.name FROM water.main.meter AS m (n, who, place, since, f) JOIN market.main.company c ON c.id = m.who
WHERE m.n > 1;

-- a relation with column names of its own, one department
SELECT m.district FROM water.main.meter AS m (company, district, id, a, b) WHERE m.company = 1;

-- a star over a relation with column names of its own
SELECT * FROM water.main.meter AS m (a, b, c, d, e) JOIN market.main.code k ON k.company = m.b;

-- a CTE with column names of its use
WITH w AS (SELECT company, m3 FROM water.main.reading)
SELECT x.a, y.b FROM w AS x (a, b) JOIN w AS y (b, a) ON y.b = x.a JOIN market.main.company c ON c.id = x.a;

-- a relation in brackets
-- as: SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
SELECT c.id, m.id FROM (market.main.company) c JOIN (water.main.meter) m ON m.company = c.id;

-- a source takes the name of a WITH query as its alias, and a correlated column reads it
WITH w AS (SELECT id AS o FROM market.main.company)
SELECT w.id, w.m3 FROM (SELECT meter_id AS id, m3, company FROM water.main.reading) AS w
WHERE EXISTS (SELECT 1 FROM w AS q WHERE q.o = w.company) AND EXISTS (SELECT 1 FROM market.main.sale AS s WHERE s.seller = w.company);

-- the same, where the WITH query's own name is read beside it
WITH w AS (SELECT id AS o FROM market.main.company)
SELECT w.m3 FROM water.main.reading AS w WHERE w.company IN (SELECT o FROM w) OR w.company IN (SELECT w.o FROM w);

-- a list of values takes the name of a WITH query
WITH v AS (SELECT id FROM market.main.company)
SELECT v.a FROM (VALUES 'A1', 'ZZ') AS v (a) WHERE EXISTS (SELECT 1 FROM v AS c WHERE c.id = v.a);
