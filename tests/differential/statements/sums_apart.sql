-- a difference of products over two departments
SELECT m.district, SUM(s.amount - m.factor * s.qty) AS total FROM market.main.sale s
JOIN water.main.meter m ON m.company = s.seller GROUP BY m.district;

-- where a column of it is NULL, nothing of the row counts
SELECT c.name, SUM(r.m3 + c.staff) AS total, COUNT(*) AS n FROM water.main.reading r
JOIN market.main.company c ON c.id = r.company GROUP BY c.name;

-- what reads nothing of the summed side counts its rows
SELECT s.day, SUM(m.factor + s.qty) AS total FROM market.main.sale s JOIN water.main.meter m
ON m.company = s.seller GROUP BY s.day;

-- a factor of both sides is multiplied out
SELECT m.district, SUM((m.factor - s.amount) * (s.qty - m.factor) * -2) AS total FROM market.main.sale s
JOIN water.main.meter m ON m.company = s.seller GROUP BY m.district;

-- the same without groups, and of nothing
SELECT SUM(m.factor * s.amount) AS some, SUM(s.qty - m.factor) AS more, COUNT(s.day) AS days FROM market.main.sale s
JOIN water.main.meter m ON m.company = s.seller AND s.amount > m.factor;

-- of no rows at all
SELECT SUM(m.factor * s.amount) AS some, COUNT(s.day) AS days FROM market.main.sale s
JOIN water.main.meter m ON m.company = s.seller AND s.amount < m.factor - m.factor - 1000;

-- in HAVING and ORDER BY (ordered)
SELECT m.id, m.district FROM market.main.sale s JOIN water.main.meter m ON m.company = s.seller
GROUP BY m.id, m.district HAVING SUM(s.amount * m.factor) > 0 ORDER BY SUM(s.amount - m.factor * s.qty) DESC, m.id;

-- beside the greatest and the count of the same side
SELECT m.district, SUM(m.factor * s.qty) AS total, MAX(s.day) AS latest, COUNT(*) AS n, SUM(s.amount) AS amount
FROM market.main.sale s JOIN water.main.meter m ON m.company = s.seller GROUP BY m.district;

-- over three departments
SELECT c.hazard, SUM(m.factor * s.qty - s.amount * c.hazard) AS total FROM market.main.sale s
JOIN water.main.meter m ON m.company = s.seller JOIN chemicals.main.substance c ON c.hazard >= s.qty
GROUP BY c.hazard;

-- large numbers whose difference is small
SELECT SUM(m.id - c.revenue) AS total FROM market.main.company c CROSS JOIN water.main.meter m
WHERE c.revenue > 10 AND c.staff < 5 AND m.id > 100;

-- doubles, and what takes the place of NULL
SELECT m.district, SUM(m.factor * k.kg) AS kg, SUM(m.factor * COALESCE(k.year, 1)) AS years
FROM chemicals.main.stock k JOIN water.main.meter m ON m.company = k.company GROUP BY m.district;

-- integers of one side that only the other's decimals stand between
SELECT m.district, SUM(s.qty * 40000 * m.factor * (s.qty * 40000)) AS squares FROM market.main.sale s
JOIN water.main.meter m ON m.company = s.seller GROUP BY m.district;

-- the same beside a decimal of their own side
SELECT m.district, SUM(s.qty * 40000 * m.factor * (s.qty * 40000) * s.amount) AS squares FROM market.main.sale s
JOIN water.main.meter m ON m.company = s.seller GROUP BY m.district;

-- products of large integers that are small together
SELECT c.name, SUM((k.year * 100 - (c.staff + 202300)) * (k.year * 100 - (c.staff + 202300))) AS squares
FROM chemicals.main.stock k JOIN market.main.company c ON c.id = k.company AND c.staff < 1000 GROUP BY c.name;
