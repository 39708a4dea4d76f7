SELECT CAST('1' AS integer), TRY_CAST('x' AS integer), coalesce(1, 2), nullif(1, 2), IF(TRUE, 1, 2), try(1 / 1), typeof(1), ROW(1, 'a'), ARRAY[1, 2], EXISTS (SELECT 1), format('%s', 1), CASE 1 WHEN 1 THEN 'a' ELSE 'b' END;
SELECT CAST(NULL AS integer), TRY_CAST(NULL AS date), coalesce(NULL, 2), coalesce(NULL, NULL), nullif(NULL, 2), nullif(1, NULL), IF(NULL, 1, 2), IF(TRUE, NULL, 1), try(1 / NULL), typeof(NULL), ROW(NULL, 'a'), ARRAY[NULL], EXISTS (SELECT NULL), CASE NULL WHEN NULL THEN 'a' ELSE 'b' END;
-- edge: empty, and one branch
SELECT IF(FALSE, 1), CASE WHEN FALSE THEN 1 END, coalesce('', 'a'), nullif('', ''), ARRAY[], EXISTS (SELECT 1 WHERE FALSE), typeof(ARRAY[]), typeof(''), TRY_CAST('' AS double), CAST('' AS varchar(3)), try(CAST('' AS integer)), nullif(1, 1.0), nullif('a', 'a '), ROW(''), typeof(ROW(ARRAY[], NULL));
-- edge: limits
SELECT CAST(127 AS tinyint), CAST(-128 AS tinyint), CAST('9223372036854775807' AS bigint), CAST(1e18 AS bigint), CAST(1.5 AS integer), CAST(-2.5 AS integer), CAST(2.5e0 AS integer), CAST(0.1 AS real), CAST(1e39 AS real), TRY_CAST(128 AS tinyint), TRY_CAST(1e19 AS bigint), TRY_CAST(nan() AS integer), TRY_CAST('99999' AS decimal(4, 0)), CAST(DECIMAL '99.995' AS decimal(4, 2)), TRY_CAST(99.995 AS decimal(3, 1)), try(CAST(300 AS tinyint)), coalesce(1, 2.5), coalesce(1, 2e0), typeof(coalesce(1, BIGINT '2')), IF(TRUE, 1, 2.50);
-- edge: too large
SELECT CAST(128 AS tinyint);
-- edge: no number
SELECT CAST('1.5' AS integer);
-- edge: no common type
SELECT coalesce(1, 'a');
-- edge: no common type
SELECT nullif(1, 'a');
-- edge: no condition
SELECT IF(1, 2, 3);
-- edge: no common type
SELECT IF(TRUE, 1, 'a');
-- edge: no cast
SELECT TRY_CAST(ARRAY[1] AS integer);
-- edge: what is caught, and in which places
SELECT try(1 / 0), try(CAST('a' AS integer)), try(ARRAY[1][2]), try(from_base('z', 2)), try(date('x')), coalesce(try(1 / 0), -1), try(json_parse('{')), try(9223372036854775807 + 1), TRY_CAST('1e3' AS integer), TRY_CAST(' 1 ' AS integer), TRY_CAST('yes' AS boolean), TRY_CAST('2024-02-30' AS date), TRY_CAST('24:00' AS time);
-- edge: too few arguments
SELECT coalesce(1);
-- edge: what a type is called
SELECT typeof(1.50), typeof(1e0), typeof('abc'), typeof(X'00'), typeof(DATE '2024-01-01'), typeof(TIME '01:02:03.45'), typeof(TIMESTAMP '2024-01-01 00:00:00.123456'), typeof(TIMESTAMP '2024-01-01 00:00:00 UTC'), typeof(INTERVAL '1' DAY), typeof(INTERVAL '1' MONTH), typeof(CAST('a' AS char(5))), typeof(JSON '1'), typeof(CAST(ROW(1, 'a') AS row(x integer, y varchar))), typeof(map(ARRAY[1], ARRAY['a'])), typeof(REAL '1'), typeof(TINYINT '1'), typeof(UUID '12151fd2-7586-11e9-8f9e-2a86e4085a59'), typeof(DECIMAL '0.001'), typeof(1.0 / 3), typeof(ARRAY[1, 2.5]);
SELECT x, y FROM UNNEST(ARRAY[1, 2], ARRAY['a', 'b']) AS t(x, y);
SELECT x, n FROM UNNEST(ARRAY[1, NULL]) WITH ORDINALITY AS t(x, n);
SELECT x FROM UNNEST(CAST(NULL AS array(integer))) AS t(x);
-- edge: empty, of another length, and maps
SELECT x, y, k, v FROM UNNEST(ARRAY[1, 2], CAST(ARRAY[] AS array(integer)), map(ARRAY['a'], ARRAY[9])) AS t(x, y, k, v);
-- edge: not an array
SELECT x FROM UNNEST(1) AS t(x);
SELECT k, grouping(k), grouping(k, x), count(*) FROM (VALUES ('a', 1), ('b', 2)) AS t(k, x) GROUP BY ROLLUP (k, x);
SELECT k, grouping(k), count(*) FROM (VALUES ('a', 1), (NULL, 2)) AS t(k, x) GROUP BY GROUPING SETS ((k), ());
-- edge: one set, and none
SELECT grouping(k), count(*) FROM (VALUES 'a') AS t(k) GROUP BY k;
SELECT k FROM (VALUES 1, 2, 3) AS t(k) WHERE EXISTS (SELECT 1 FROM (VALUES 2) AS u(x) WHERE x = k);
SELECT version() = '476', current_timezone(), current_groups();
SELECT version() || CAST(NULL AS varchar), current_timezone() = CAST(NULL AS varchar), contains(current_groups(), NULL);
-- edge: their types
SELECT typeof(version()), typeof(current_timezone()), typeof(current_groups()), cardinality(current_groups()), current_groups() || ARRAY['a'], length(version()), upper(current_timezone());
SELECT bar(0.5e0, 10), bar(0.7e0, 20, rgb(0, 0, 255), color('#f80')), render('a', rgb(255, 0, 0)), render(TRUE), render(3, color('blue')), render(1.5e0, color('white')), render('b', color(0.3e0, rgb(10, 200, 30), rgb(200, 10, 250)));
SELECT bar(NULL, 10), bar(0.5e0, NULL), render(CAST(NULL AS varchar), rgb(1, 2, 3)), render('a', rgb(NULL, 2, 3)), render(CAST(NULL AS boolean)), render('a', color(CAST(NULL AS varchar)));
-- edge: no width, more than all, and what is no number
SELECT bar(1e0, 1), bar(-1e0, 5), bar(2e0, 7), bar(nan(), 3), bar(0.5e0, 0), render('', color('#000')), render(FALSE), render('é', color('RED')), render(nan(), color('black')), render(1e10, rgb(0, 0, 0)), render('c', color(nan(), rgb(1, 2, 3), rgb(4, 5, 6))), render('b', color(5e0, 1e0, 9e0, color('#123'), color('#fed'))), render('d', color(-3e0, rgb(255, 255, 255), rgb(0, 0, 1)));
-- edge: no colour
SELECT render('a', color('pink'));
-- edge: more than a byte
SELECT render('a', rgb(256, 0, 0));
-- edge: the terminal's own colours do not blend
SELECT render('a', color(0.5e0, color('red'), rgb(1, 1, 1)));
