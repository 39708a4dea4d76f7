-- the first rows of one side are enough (ordered)
SELECT r.meter_id, r.m3, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.m3 DESC, r.meter_id, c.name LIMIT 2;

-- none of the first rows meets anything (ordered)
SELECT r.meter_id, r.m3, c.staff FROM water.main.reading r JOIN market.main.company c
ON c.id = r.company AND r.meter_id < c.staff * r.meter_id AND c.staff > r.m3 ORDER BY r.m3 DESC, r.meter_id LIMIT 1;

-- too few of the first rows meet something (ordered)
SELECT r.m3, c.staff FROM water.main.reading r JOIN market.main.company c ON c.id = r.company AND c.staff > r.m3
ORDER BY r.m3 DESC, c.staff LIMIT 3;

-- another side's column decides among rows that tie with the last one (ordered)
SELECT r.meter_id, r.flag, c.name, r.month FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.flag DESC, c.name, r.month DESC LIMIT 1;

-- the first rows tie with nothing beyond them (ordered)
SELECT s.day, s.amount, a.cost FROM market.main.sale s JOIN health.main.admission a ON a.company = s.seller
ORDER BY s.amount DESC, a.cost LIMIT 1;

-- NULLs first (ordered)
SELECT r.m3, r.month, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.month NULLS FIRST, r.m3, c.name LIMIT 1;

-- NULLs first, of a descending order (ordered)
SELECT r.m3, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.m3 DESC NULLS FIRST LIMIT 1;

-- with an offset (ordered)
SELECT r.m3, r.meter_id, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.m3 DESC, r.meter_id, c.name OFFSET 2 LIMIT 2;

-- an offset beyond what the first rows give (ordered)
SELECT r.m3, c.staff FROM water.main.reading r JOIN market.main.company c ON c.id = r.company AND c.staff > r.m3
ORDER BY r.m3 DESC, c.staff OFFSET 1 LIMIT 2;

-- the first rows multiply (ordered)
SELECT c.id, c.revenue, r.m3 FROM market.main.company c JOIN water.main.reading r ON r.company = c.id
ORDER BY c.revenue DESC, r.m3, r.meter_id LIMIT 2;

-- the left side of a left join leads (ordered)
SELECT c.id, c.revenue, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id
ORDER BY c.revenue, r.m3, c.id LIMIT 2;

-- the right side of a left join leads: rows without it come first
SELECT r.m3, c.id FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id
ORDER BY r.m3 NULLS FIRST, c.id DESC LIMIT 2;

-- both sides are one question: its first rows would meet only themselves (ordered)
SELECT r.m3, q.m3 AS other, c.id FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
JOIN water.main.reading q ON q.company = c.id AND q.m3 >= r.m3 ORDER BY r.m3, q.m3 DESC, c.id LIMIT 1;

-- a subquery drops some of them (ordered)
SELECT r.m3, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
WHERE EXISTS (SELECT 1 FROM chemicals.main.stock s WHERE s.company = c.id AND s.year > r.m3)
ORDER BY r.m3 DESC, c.name LIMIT 1;

-- an expression leads the order: all rows are read (ordered)
SELECT r.m3, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.m3 + c.staff DESC, r.m3, c.name LIMIT 1;

-- no row is wanted
SELECT r.m3, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.m3 DESC LIMIT 0;

-- more rows are wanted than there are (ordered)
SELECT r.meter_id, r.m3, c.name FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.m3, r.meter_id, c.name LIMIT 100;

-- all rows, by the largest LIMIT that there is (ordered)
SELECT r.m3, c.staff FROM water.main.reading r JOIN market.main.company c ON c.id = r.company
ORDER BY r.m3, c.staff LIMIT 9223372036854775807;

-- no row, by the largest OFFSET that there is
SELECT r.m3 FROM water.main.reading r ORDER BY r.m3 OFFSET 9223372036854775807;
