SELECT 1 + 2, 5 - 3, 2 * 3, 7 / 2, 7 % 2, -(3), 'a' || 'b', 1.5 + 2, 2.50 * 1.5, 7.0 / 2, 7e0 / 2, 7.5 % 2;
SELECT 1 + NULL, NULL - 1, 2 * NULL, NULL / 2, 7 % NULL, -CAST(NULL AS integer), 'a' || CAST(NULL AS varchar), CAST(NULL AS decimal(5, 2)) + 1, 1e0 * CAST(NULL AS double);
-- edge: limits
SELECT 9223372036854775806 + 1, -9223372036854775807 - 1, 3037000499 * 3037000499, -9223372036854775807 / -1, -7 / 2, -7 % 2, 7 % -2, -(-9223372036854775807), 0.1 + 0.2, 1e308 * 10, 1e0 / 0, 0e0 / 0, -1e0 / 0, 5e0 % 0, DECIMAL '99999999999999999999999999999999999999' + 0, DECIMAL '0.00000000000000000001' * DECIMAL '0.000000000000000001', 1.0 / 3, 10.00 / 3.000, -0.5 % 0.3;
-- edge: beyond a bigint
SELECT 9223372036854775807 + 1;
-- edge: beyond a bigint
SELECT -9223372036854775808 - 1;
-- edge: beyond an integer
SELECT 2147483647 * 2;
-- edge: no opposite
SELECT -x FROM (VALUES -9223372036854775808) AS t(x);
-- edge: by zero
SELECT 1 / 0;
-- edge: by zero
SELECT 1 % 0;
-- edge: by zero
SELECT 1.5 / 0;
-- edge: no numbers
SELECT 'a' + 1;
-- edge: no numbers
SELECT TRUE - 1;
-- edge: no numbers
SELECT 'a' * 2;
-- edge: no text
SELECT 'a' || 1;
-- edge: no number
SELECT -'a';
SELECT 1 = 1, 1 <> 2, 1 < 2, 1 <= 1, 2 > 1, 2 >= 2, 'a' = 'a', 'a' < 'b', 1 IS DISTINCT FROM 2, 1 IS NOT DISTINCT FROM 1, 2 BETWEEN 1 AND 3, 2 IN (1, 2), 'abc' LIKE 'a%', 1 IS NULL, 1 IS NOT NULL, TRUE AND FALSE, TRUE OR FALSE, NOT TRUE;
SELECT 1 = NULL, NULL <> 1, NULL < 2, 1 <= NULL, NULL > 1, 2 >= NULL, NULL IS DISTINCT FROM 1, NULL IS NOT DISTINCT FROM NULL, NULL BETWEEN 1 AND 3, 2 BETWEEN NULL AND 1, NULL IN (1, 2), 2 IN (1, NULL), 2 IN (2, NULL), CAST(NULL AS varchar) LIKE 'a%', NULL IS NULL, NULL AND FALSE, NULL AND TRUE, NULL OR TRUE, NULL OR FALSE, NOT CAST(NULL AS boolean);
-- edge: what is no number, other types and blanks
SELECT nan() = nan(), nan() <> nan(), nan() < 1, nan() <= nan(), nan() > 1, nan() >= nan(), nan() IS DISTINCT FROM nan(), nan() BETWEEN 0 AND 1, nan() IN (nan()), 0e0 = -0e0, 0e0 IS DISTINCT FROM -0e0, 1 = 1.0, 0.1 = 0.1e0, REAL '0.1' = 0.1, 'a' = 'a ', CAST('a' AS char(3)) = 'a', 'Z' < 'a', '｡' < '😀', 'é' = U&'e\0301', DATE '2024-01-01' = TIMESTAMP '2024-01-01 00:00:00', TIMESTAMP '2024-01-01 00:00:00 UTC' = TIMESTAMP '2024-01-01 01:00:00 +01:00', ARRAY[1, 2] < ARRAY[1, 3], ARRAY[1] = ARRAY[1, NULL], ROW(1, 2) < ROW(1, 3), ROW(1, NULL) = ROW(2, NULL), X'00' < X'FF', TRUE > FALSE;
-- edge: empty, escapes and every character
SELECT '' LIKE '', '' LIKE '%', '' LIKE '_', 'a' LIKE '', 'a%' LIKE 'a#%' ESCAPE '#', 'ab' LIKE 'a#%' ESCAPE '#', '日本' LIKE '_本', '😀' LIKE '_', 'a\b' LIKE 'a\b', 'A' LIKE 'a', U&'a\000Ab' LIKE 'a_b', 3 BETWEEN 4 AND 2, 3 NOT BETWEEN 4 AND 2, 'b' NOT LIKE 'a%', 1 NOT IN (2, 3), 1 NOT IN (2, NULL), (1, 2) IN ((1, 2), (3, 4)), 1 IN (SELECT 1 WHERE FALSE), NULL IN (SELECT 1 WHERE FALSE), NOT (NULL IS NULL), NOT NOT TRUE, (TRUE OR NULL) AND (FALSE OR NULL);
-- edge: no common type
SELECT 1 = 'a';
-- edge: no common type
SELECT 1 <> TRUE;
-- edge: no order
SELECT MAP(ARRAY[1], ARRAY[1]) < MAP(ARRAY[1], ARRAY[2]);
-- edge: no order
SELECT MAP(ARRAY[1], ARRAY[1]) >= MAP(ARRAY[1], ARRAY[2]);
-- edge: no common type
SELECT 1 > DATE '2024-01-01';
-- edge: no common type
SELECT 1 <= 'a';
-- edge: no common type
SELECT 1 IS DISTINCT FROM 'a';
-- edge: no common type
SELECT 1 BETWEEN 'a' AND 'b';
-- edge: no common type
SELECT 1 IN ('a');
-- edge: no text
SELECT 1 LIKE 'a';
-- edge: an escape of two characters
SELECT 'a' LIKE 'a' ESCAPE 'ab';
-- edge: no condition
SELECT 1 AND TRUE;
-- edge: no condition
SELECT 'a' OR TRUE;
-- edge: no condition
SELECT NOT 1;
SELECT 2 > ALL (SELECT x FROM (VALUES 1) AS t(x)), 2 = ANY (SELECT x FROM (VALUES 1, 2) AS t(x)), 2 < SOME (SELECT x FROM (VALUES 1, 3) AS t(x)), ARRAY[1, 2][1], MAP(ARRAY['a'], ARRAY[1])['a'], CASE WHEN 1 = 1 THEN 'x' ELSE 'y' END, CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END, TIMESTAMP '2024-01-01 00:00:00 UTC' AT TIME ZONE 'Asia/Tokyo', DATE '2024-01-31' + INTERVAL '1' MONTH, TIMESTAMP '2024-01-01 00:00:00' - INTERVAL '1' SECOND, DATE '2024-03-01' - DATE '2024-02-01', INTERVAL '1' DAY * 2;
SELECT NULL > ALL (SELECT 1), 2 = ANY (SELECT x FROM (VALUES 1, NULL) AS t(x)), 2 <> ALL (SELECT x FROM (VALUES 1, NULL) AS t(x)), ARRAY[1, NULL][2], MAP(ARRAY['a'], ARRAY[NULL])['a'], CASE WHEN NULL THEN 'x' ELSE 'y' END, CAST(NULL AS timestamp) AT TIME ZONE 'UTC', CAST(NULL AS date) - DATE '2024-01-01';
-- edge: no rows, months of other lengths and doubled hours
SELECT 1 > ALL (SELECT 1 WHERE FALSE), 1 = ANY (SELECT 1 WHERE FALSE), NULL = ALL (SELECT 1 WHERE FALSE), CASE WHEN FALSE THEN 1 END, CASE 1 WHEN 1.0 THEN 'a' END, DATE '2024-03-31' - INTERVAL '1' MONTH, DATE '2024-02-29' + INTERVAL '1' YEAR, TIMESTAMP '2024-03-30 02:30:00 Europe/Berlin' + INTERVAL '1' DAY, TIMESTAMP '2024-10-27 00:30:00 UTC' AT TIME ZONE 'Europe/Berlin', TIMESTAMP '2024-10-27 01:30:00 UTC' AT TIME ZONE 'Europe/Berlin', TIMESTAMP '2024-01-01 00:00:00' AT TIME ZONE '-05:30', INTERVAL '1' DAY / 3, INTERVAL '1' MONTH * 1.5e0, TIME '23:00:00' + INTERVAL '2' HOUR, TIMESTAMP '2024-01-02 00:00:00' - TIMESTAMP '2024-01-01 12:00:00.5', INTERVAL '1' DAY > INTERVAL '23' HOUR, -INTERVAL '1' DAY;
-- edge: behind the last
SELECT ARRAY[1][2];
-- edge: the place 0
SELECT ARRAY[1][0];
-- edge: no such key
SELECT MAP(ARRAY['a'], ARRAY[1])['b'];
-- edge: no common type
SELECT CASE WHEN TRUE THEN 1 ELSE 'a' END;
-- edge: no common type
SELECT 1 > ALL (SELECT 'a');
-- edge: no common type
SELECT 1 = ANY (SELECT 'a');
-- edge: hours of a date
SELECT DATE '2024-01-01' + INTERVAL '1' HOUR;
-- edge: no such zone
SELECT TIMESTAMP '2024-01-01 00:00:00 UTC' AT TIME ZONE 'Nowhere';
-- edge: a date has no zone
SELECT DATE '2024-01-01' AT TIME ZONE 'UTC';
-- a quantifier over NaN, by the least or the greatest
SELECT 5e0 <= ANY (SELECT nan()), 5e0 <= ALL (SELECT nan()), nan() >= ALL (SELECT 1e0), nan() < ANY (VALUES 1e0, 2e0), 1e0 > ALL (VALUES nan(), nan());
SELECT x, x < ANY (VALUES nan(), 1e0), x <= ANY (VALUES nan(), 1e0), x > ANY (VALUES nan(), 1e0), x >= ANY (VALUES nan(), 1e0) FROM (VALUES 0e0, 1e0, 2e0, nan(), NULL) AS t (x);
SELECT x, x < ALL (VALUES nan(), 1e0), x <= ALL (VALUES nan(), 1e0), x > ALL (VALUES nan(), 1e0), x >= ALL (VALUES nan(), 1e0) FROM (VALUES 0e0, 1e0, 2e0, nan(), NULL) AS t (x);
SELECT x, x < ANY (VALUES NULL, 1e0), x > ALL (VALUES NULL, 1e0), x >= ANY (VALUES 1e0, NULL), x <= ALL (VALUES 1e0, NULL) FROM (VALUES 0e0, 1e0, 2e0, nan(), NULL) AS t (x);
SELECT x, x = ALL (VALUES nan(), 1e0), x = ALL (VALUES 1e0, 1e0), x <> ANY (VALUES 1e0, 1e0), x <> ANY (VALUES 1e0, 2e0) FROM (VALUES 0e0, 1e0, 2e0, nan()) AS t (x);
SELECT x, x = ANY (VALUES nan(), 1e0), x <> ALL (VALUES nan(), 1e0) FROM (VALUES 0e0, 1e0, nan(), NULL) AS t (x);
SELECT x < ANY (SELECT f FROM a.main.cell WHERE id > 99), x >= ALL (SELECT f FROM a.main.cell WHERE id > 99) FROM (VALUES 0e0, nan(), NULL) AS t (x);
SELECT id FROM a.main.cell AS c WHERE f >= ALL (SELECT d.f FROM a.main.cell AS d WHERE d.f IS NOT NULL);
SELECT id FROM a.main.cell AS c WHERE f <= ALL (SELECT d.f FROM a.main.cell AS d WHERE d.id <> c.id AND d.f IS NOT NULL);
SELECT id FROM a.main.cell AS c WHERE f < ANY (SELECT d.i FROM a.main.cell AS d WHERE d.id < c.id);
SELECT id FROM a.main.cell WHERE (SELECT max(f) FROM a.main.cell) <= ALL (SELECT f FROM a.main.cell WHERE id = 3);
SELECT c.id FROM a.main.cell AS c WHERE c.r > ANY (SELECT s.qty FROM b.main.sale AS s WHERE s.cell = c.id);
SELECT x, x = ANY (VALUES CAST('abc' AS char(5))), x <> ALL (VALUES CAST('abc' AS char(5))), x <= ALL (VALUES CAST('abc' AS char(5))), x > ANY (VALUES CAST('abc' AS char(5))) FROM (VALUES CAST('abc ' AS varchar(5)), 'abc', 'abd', 'ab') AS t (x);
SELECT x, x IN (SELECT y FROM (VALUES CAST('abc ' AS varchar(5))) AS r (y)), x = ANY (SELECT y FROM (VALUES CAST('abc ' AS varchar(5))) AS r (y)) FROM (VALUES CAST('abc' AS char(5)), CAST('abd' AS char(5))) AS t (x);
SELECT i > SOME (VALUES 0, 9), i = SOME (SELECT 7), i < ALL (VALUES (8), (9)) FROM a.main.cell;
