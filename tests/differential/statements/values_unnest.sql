-- a table of values joined with a department
SELECT v.n, c.id, c.name FROM (VALUES (1, 'A1'), (2, 'B2'), (3, NULL)) AS v (n, k) JOIN market.main.company c ON c.id = v.k;

-- left join from values
SELECT v.k, c.id, m.id FROM (VALUES ('A1'), ('none'), (NULL)) AS v (k)
LEFT JOIN market.main.company c ON c.id = v.k LEFT JOIN water.main.meter m ON m.company = v.k;

-- values in a CTE used twice
WITH v (k, n) AS (VALUES ('A1', 1), ('B2', 2)) SELECT a.k, b.n, c.id FROM v a JOIN v b ON a.n <= b.n JOIN market.main.company c ON c.id = a.k;

-- values restricted above
SELECT v.k, c.id FROM (VALUES ('A1', 1), ('B2', 2)) AS v (k, n) JOIN market.main.company c ON c.id = v.k WHERE v.n > 1;

-- values alone
VALUES (1, 'a'), (2, 'b');

-- values in a subquery
SELECT c.id, m.id FROM market.main.company c JOIN water.main.meter m ON m.company = c.id
WHERE c.id IN (SELECT v.k FROM (VALUES 'A1', 'C3') AS v (k));

-- unnest an array beside its row
SELECT j.id, t.tag FROM works.main.job j CROSS JOIN UNNEST(j.tags) AS t (tag);

-- unnest beside another department
SELECT c.name, t.tag FROM works.main.job j JOIN market.main.company c ON c.id = j.company CROSS JOIN UNNEST(j.tags) AS t (tag)
WHERE t.tag <> 'pipe' AND j.hours IS NOT NULL;

-- unnest joined by its element
SELECT t.tag, r.note FROM works.main.job j CROSS JOIN UNNEST(j.tags) AS t (tag) JOIN water.main.reading r ON r.note = t.tag OR t.tag IS NULL;

-- unnest a literal array
SELECT c.id, t.n FROM market.main.company c CROSS JOIN UNNEST(ARRAY[1, 10, NULL]) AS t (n) WHERE c.staff = t.n;

-- unnest a sequence of dates
SELECT t.d, COUNT(a.person) FROM UNNEST(sequence(DATE '2024-02-28', DATE '2024-03-02', INTERVAL '1' DAY)) AS t (d)
LEFT JOIN health.main.admission a ON a.day = t.d GROUP BY t.d;

-- unnest within a derived table
SELECT d.tag, COUNT(*) FROM (SELECT j.company, t.tag FROM works.main.job j CROSS JOIN UNNEST(j.tags) AS t (tag)) d
JOIN market.main.company c ON c.id = d.company GROUP BY d.tag;

-- arrays travel
SELECT j.tags, c.name FROM works.main.job j JOIN market.main.company c ON c.id = j.company;

-- the TABLE statement
TABLE health.main.ward;
