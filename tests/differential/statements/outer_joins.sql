-- left join, some rows without a partner
SELECT c.id, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id;

-- left join the other way round
SELECT c.id, r.m3 FROM water.main.reading r LEFT JOIN market.main.company c ON r.company = c.id;

-- right join
SELECT c.id, r.m3 FROM market.main.company c RIGHT JOIN water.main.reading r ON r.company = c.id;

-- full join
SELECT c.id, r.company, r.m3 FROM market.main.company c FULL JOIN water.main.reading r ON r.company = c.id;

-- left join, condition on the right side in ON
SELECT c.id, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id AND r.m3 > 5;

-- left join, condition on the left side in ON: rows stay, partners go
SELECT c.id, c.staff, r.m3 FROM market.main.company c
LEFT JOIN water.main.reading r ON r.company = c.id AND c.staff > 5;

-- left join, condition on the left side in ON, both restricted
SELECT c.id, c.staff, r.m3 FROM market.main.company c
LEFT JOIN water.main.reading r ON r.company = c.id AND c.staff > 5 AND r.m3 > 0;

-- left join, condition on the right side in WHERE: becomes inner
SELECT c.id, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id WHERE r.m3 > 5;

-- left join, rows without a partner
SELECT c.id FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id WHERE r.company IS NULL;

-- left join, condition that is true for missing values
SELECT c.id, r.m3 FROM market.main.company c
LEFT JOIN water.main.reading r ON r.company = c.id WHERE COALESCE(r.m3, 0) < 5;

-- left join, condition on the left side in WHERE
SELECT c.id, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 10;

-- right join, conditions on both sides in ON
SELECT c.id, r.company, r.m3 FROM market.main.company c
RIGHT JOIN water.main.reading r ON r.company = c.id AND r.m3 > 5 AND c.staff > 5;

-- right join, condition on the left side in WHERE
SELECT c.id, r.company FROM market.main.company c
RIGHT JOIN water.main.reading r ON r.company = c.id WHERE c.staff IS NULL;

-- full join, conditions on either side in ON
SELECT c.id, r.company, r.m3 FROM market.main.company c
FULL JOIN water.main.reading r ON r.company = c.id AND r.m3 > 5 AND c.staff > 5;

-- full join, condition in WHERE
SELECT c.id, r.company FROM market.main.company c
FULL JOIN water.main.reading r ON r.company = c.id WHERE c.id IS NULL OR r.company IS NULL;

-- full join, restricted on one side in WHERE
SELECT c.id, r.company, c.staff FROM market.main.company c
FULL JOIN water.main.reading r ON r.company = c.id WHERE c.staff = 10;

-- two left joins
SELECT c.id, r.m3, s.kg FROM market.main.company c
LEFT JOIN water.main.reading r ON r.company = c.id
LEFT JOIN chemicals.main.stock s ON s.company = c.id;

-- a left join on what a left join brought
SELECT c.id, m.district, w.beds FROM market.main.company c
LEFT JOIN water.main.meter m ON m.company = c.id
LEFT JOIN health.main.ward w ON w.district = m.district AND w.beds > 1;

-- left join, then inner join on its right side
SELECT c.id, m.id, w.id FROM market.main.company c
LEFT JOIN water.main.meter m ON m.company = c.id
JOIN health.main.ward w ON w.district = m.district;

-- inner join, then left join
SELECT c.id, m.id, w.id FROM market.main.company c
JOIN water.main.meter m ON m.company = c.id
LEFT JOIN health.main.ward w ON w.district = m.district AND m.factor > 0 AND w.open;

-- left join, then right join: everything before is extended
SELECT c.id, m.id, w.id FROM market.main.company c
LEFT JOIN water.main.meter m ON m.company = c.id AND m.factor > 0
RIGHT JOIN health.main.ward w ON w.district = c.district;

-- inner join with a restricted first table, then right join
SELECT c.id, m.id, w.id FROM market.main.company c
JOIN water.main.meter m ON m.company = c.id AND c.staff = 10 AND m.factor > 0
RIGHT JOIN health.main.ward w ON w.district = c.district;

-- inner join, then full join, condition of the first in its ON
SELECT c.id, m.id, w.id FROM market.main.company c
JOIN water.main.meter m ON m.company = c.id AND c.staff >= 0
FULL JOIN health.main.ward w ON w.district = m.district;

-- inner join, then full join, WHERE on the null-extended sides
SELECT c.id, m.id, w.id FROM market.main.company c
JOIN water.main.meter m ON m.company = c.id
FULL JOIN health.main.ward w ON w.district = m.district
WHERE c.staff > 5 OR w.beds > 5;

-- right join, then left join
SELECT c.id, r.company, s.kg FROM market.main.company c
RIGHT JOIN water.main.reading r ON r.company = c.id
LEFT JOIN chemicals.main.stock s ON s.company = r.company AND s.kg > 0;

-- using with a left join
SELECT * FROM water.main.reading r LEFT JOIN chemicals.main.stock s USING (company);

-- using with a full join: the key is taken from either side
SELECT company, m3, kg FROM water.main.reading r FULL JOIN chemicals.main.stock s USING (company);

-- using twice, full then left
SELECT * FROM water.main.reading r FULL JOIN chemicals.main.stock s USING (company)
LEFT JOIN health.main.admission a USING (company);

-- using, condition on the merged key
SELECT company, m3, kg FROM water.main.reading r FULL JOIN chemicals.main.stock s USING (company)
WHERE company > 'B';

-- left join of an empty relation
SELECT m.id, t.price FROM water.main.meter m LEFT JOIN health.main.closed x ON x.district = m.district
LEFT JOIN water.main.tariff t ON t.district = m.district;

-- full join of two empty relations
SELECT t.price, x.id FROM water.main.tariff t FULL JOIN health.main.closed x ON x.district = t.district;

-- left join with a condition that no row meets
SELECT c.id, r.m3 FROM market.main.company c LEFT JOIN water.main.reading r ON r.company = c.id AND FALSE;

-- left join on a disjunction over both departments
SELECT c.id, w.id FROM market.main.company c
LEFT JOIN health.main.ward w ON w.district = c.district OR w.beds = c.staff;

-- left join of a derived table restricted in ON
SELECT c.id, d.company, d.total FROM market.main.company c
LEFT JOIN (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company) d
  ON d.company = c.id AND d.total > 5;

-- left join of a derived table, grouping key restricted in ON
SELECT c.id, d.company, d.total FROM market.main.company c
LEFT JOIN (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company) d
  ON d.company = c.id AND d.company < 'B';

-- full join of a derived table restricted in ON
SELECT c.id, d.company, d.total FROM market.main.company c
FULL JOIN (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company) d
  ON d.company = c.id AND d.company < 'B';

-- derived table on the left side of a left join, restricted in ON
SELECT d.company, d.total, c.id
FROM (SELECT company, SUM(m3) AS total FROM water.main.reading GROUP BY company) d
LEFT JOIN market.main.company c ON c.id = d.company AND d.company < 'B';

-- derived table on the left side of a right join, restricted in WHERE
SELECT d.company, c.id
FROM (SELECT company, note FROM water.main.reading) d
RIGHT JOIN market.main.company c ON c.id = d.company WHERE d.note IS NULL;

-- IS NOT NULL on the null-extended side
SELECT c.id, k.code FROM market.main.company c
LEFT JOIN water.main.meter m ON m.company = c.id
LEFT JOIN market.main.code k ON k.company = m.company WHERE m.factor IS NOT NULL;

-- NOT over a null-extended comparison
SELECT c.id FROM market.main.company c
LEFT JOIN water.main.reading r ON r.company = c.id WHERE NOT (r.flag IS TRUE);
