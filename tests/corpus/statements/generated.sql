-- edge: arrays and rows compare part by part: NULL leaves equality open, NaN equals nothing
SELECT ARRAY[nan()] = ARRAY[nan()], ARRAY[nan(), 1e0] < ARRAY[1e0], ARRAY[1, NULL] = ARRAY[1, NULL], ARRAY[1, NULL] = ARRAY[2, NULL], ARRAY[NULL] = ARRAY[1, 2], ROW(1, NULL) = ROW(2, NULL), ROW(1, NULL) < ROW(2, NULL);
SELECT ARRAY[1, 2] < ARRAY[1, 2, NULL], ARRAY[1, 2] < ARRAY[2, NULL], ARRAY[ARRAY[1], ARRAY[NULL]] < ARRAY[ARRAY[2], ARRAY[NULL]], ARRAY[ARRAY[1, 2]] > ARRAY[ARRAY[1]];
SELECT ARRAY[1, NULL] < ARRAY[1, 2];
SELECT ROW(1, NULL) < ROW(1, NULL);
SELECT MAP(ARRAY[1], ARRAY[NULL]) = MAP(ARRAY[1], ARRAY[2]), MAP(ARRAY[1, 2], ARRAY[NULL, 3]) = MAP(ARRAY[1, 2], ARRAY[2, 4]), MAP(ARRAY[3], ARRAY[NULL]) = MAP(ARRAY[4], ARRAY[NULL]);
SELECT greatest(ARRAY[nan()], ARRAY[1e0]), least(ARRAY[nan()], ARRAY[1e0]), greatest(ARRAY[1, 2], ARRAY[1], ARRAY[0, 9]), least(ROW(1, 'b'), ROW(1, 'a')), greatest(ARRAY[1], CAST(NULL AS array(integer)));
SELECT greatest(ARRAY[1, NULL], ARRAY[1, NULL]);
SELECT least(MAP(ARRAY[1], ARRAY[2]), MAP(ARRAY[1], ARRAY[2]));
SELECT greatest(ARRAY[1], ARRAY['a']);
SELECT nullif(nan(), nan()), nullif(ARRAY[1, NULL], ARRAY[1, NULL]), nullif(ARRAY[1], ARRAY[1]), nullif(MAP(ARRAY[3], ARRAY[NULL]), MAP(ARRAY[3], ARRAY[NULL])), nullif(1, 1.0), nullif(CAST('a' AS char(3)), 'a');
SELECT CASE nan() WHEN nan() THEN 1 ELSE 2 END, CASE ARRAY[1, NULL] WHEN ARRAY[1, NULL] THEN 1 ELSE 2 END, CASE ROW(1, 2) WHEN ROW(1, 2) THEN 'same' END, nan() BETWEEN 1 AND nan(), 1e0 BETWEEN 0 AND nan();
SELECT x FROM (VALUES ARRAY[1, 3], ARRAY[0, 2], NULL) AS t(x) ORDER BY x;
SELECT x, y FROM (VALUES (ARRAY[2], 1), (ARRAY[1, 5], 2)) AS t(x, y) ORDER BY 1;
-- refused: an order of arrays with NULLs, of which Trino answers what no NULL decides
SELECT x FROM (VALUES ARRAY[1, NULL], ARRAY[0, 2]) AS t(x) ORDER BY x;
SELECT x FROM (VALUES MAP(ARRAY[1], ARRAY[2])) AS t(x) ORDER BY x;
-- refused: max of rows, whose NULLs Trino refuses where they decide
SELECT max(ROW(id, kind)) FROM b.main.sale;
-- edge: rows with other names of fields become one type
SELECT CASE WHEN id = 1 THEN ARRAY[ROW(1, 'a'), ROW(2, NULL)] ELSE CAST(ARRAY[ROW(1, 'b'), NULL] AS array(row(x integer, y varchar))) END FROM a.main.cell WHERE id IN (1, 2) ORDER BY id;
SELECT count(*) FROM (SELECT ARRAY[ROW(1, 'a')] AS p UNION SELECT CAST(ARRAY[ROW(1, 'b'), NULL] AS array(row(x integer, y varchar))));
SELECT coalesce(CAST(NULL AS array(row(x integer, y varchar))), ARRAY[ROW(1, 'a')]), ARRAY[ROW(0, 'a')] < ARRAY[ROW(1, CAST('b' AS varchar))];
-- edge: names of lambda parameters beside columns of the same name
SELECT id, greatest(ARRAY[id], ARRAY[2]), nullif(ROW(q.a, 1), ROW(2, 1)), map_filter(MAP(ARRAY[q.a], ARRAY[2]), (k, v) -> k < 3), q.a = (SELECT 1e0) FROM (SELECT id, id AS a FROM a.main.cell) AS q ORDER BY id;
SELECT q, greatest(ARRAY[q], ARRAY[TRUE]), map_entries(MAP(ARRAY[1], ARRAY[q])) FROM (VALUES TRUE, FALSE) AS t(q);
-- edge: times of day
SELECT date_trunc('second', TIME '01:02:03.456'), date_trunc('millisecond', TIME '01:02:03.456789'), date_trunc('hour', TIME '01:02:03.456'), date_trunc('minute', CAST(NULL AS time(3)));
SELECT date_trunc('day', TIME '01:02:03.456');
SELECT date_add('hour', 25, TIME '01:02:03.456'), date_add('second', -4000, TIME '01:02:03.456'), date_add('millisecond', 500, TIME '01:02:03'), date_add('millisecond', 1500, TIME '01:02:03'), date_add('millisecond', 5, TIME '01:02:03.1'), date_add('millisecond', 501, TIMESTAMP '2020-01-01 01:02:03');
SELECT date_diff('hour', TIME '01:02:03', TIME '23:00:00'), date_diff('minute', TIME '23:00:00', TIME '01:02:03'), date_diff('millisecond', TIME '01:02:03.9999', TIME '01:02:04'), date_diff('second', CAST(NULL AS time(3)), TIME '01:02:04');
SELECT date_diff('month', TIME '01:02:03', TIME '23:00:00');
SELECT TIME '12:34:56' + INTERVAL '25' HOUR, TIME '12:34:56' - INTERVAL '25' HOUR, TIME '00:00:00' - TIME '00:00:00.0006', TIME '00:00:00.0005' - TIME '00:00:00', TIMESTAMP '2020-01-01 00:00:00' - TIMESTAMP '2020-01-01 00:00:00.0005';
-- edge: intervals by numbers
SELECT INTERVAL '1' DAY / 0;
SELECT INTERVAL '1' DAY / nan();
SELECT INTERVAL '1' MONTH * nan();
SELECT INTERVAL '1' DAY * infinity(), INTERVAL '1' DAY / infinity(), INTERVAL '1' DAY * 1e300, INTERVAL '1' MONTH * 0.5e0, INTERVAL '3' MONTH * 0.5e0, INTERVAL '-3' MONTH * 0.5e0, INTERVAL '-3' MONTH / 2, INTERVAL '-1' DAY / 7, INTERVAL '2' YEAR / CAST(NULL AS integer), CAST(NULL AS double) * INTERVAL '2' DAY;
SELECT CAST(NULL AS date) + INTERVAL '1' HOUR, NULL + DATE '2020-01-01', DATE '2020-01-01' + NULL, INTERVAL '1' DAY * NULL, INTERVAL '1' DAY / NULL;
-- edge: a text that is no date fails only where it is computed
SELECT TRY(CAST('x' AS date)), TRY_CAST('x' AS date), coalesce(1, year(CAST('x' AS date))), if(TRUE, DATE '2020-01-01', CAST('2020-13-01' AS date));
SELECT CAST('x' AS date);
-- edge: NULL may be several things
SELECT NULL + NULL;
SELECT -NULL;
SELECT 1e0 * NULL;
SELECT BIGINT '5' * NULL;
SELECT NULL / 2e0;
SELECT 2 * NULL, 2 - NULL, 1.5 * NULL, REAL '1' * NULL, BIGINT '5' / NULL, NULL - BIGINT '5', NULL / BIGINT '5';
SELECT ARRAY[1] || ARRAY[];
SELECT ARRAY[1] || NULL;
SELECT CAST('a' AS varchar) || NULL;
SELECT 'a' || NULL, NULL || 'ab', concat('a', NULL), concat('a', NULL, 'b'), concat(ARRAY[1], ARRAY[], ARRAY[2]), ARRAY[] || ARRAY[], ARRAY[] || 1;
SELECT ARRAY['a'] || CAST(NULL AS varchar), CAST(NULL AS varchar) || ARRAY['a'], ARRAY[1] || CAST(NULL AS integer), ARRAY[ARRAY[1]] || CAST(NULL AS array(integer));
-- edge: char(n) in functions
SELECT lower(CAST('AB' AS char(4))), upper(CAST('é' AS char(2))), trim(CAST(' ab' AS char(4))), ltrim(CAST(' ab' AS char(4))), rtrim(CAST('ab' AS char(4))), substr(CAST('ab' AS char(4)), 2), substr(CAST('ab' AS char(4)), 2, 1), reverse(CAST('ab' AS char(4))), length(CAST('ab' AS char(4))), to_utf8(CAST('ab' AS char(4))), lpad(CAST('b' AS char(2)), 4, 'x');
SELECT CAST('ab' AS char(2)) || 'b', 'b' || CAST('a' AS char(2)), CAST('ab' AS char(4)) LIKE 'ab', CAST('ab' AS char(4)) LIKE 'ab%', 'ab  ' = CAST('ab' AS char(4)), typeof(coalesce(CAST('a' AS varchar(5)), CAST('a' AS char(3)))), typeof(coalesce(CAST('a' AS varchar), CAST('a' AS char(3))));
SELECT CAST('' AS char(2)) || CAST('a' AS varchar);
SELECT CAST(1 AS char(4));
SELECT CAST(CAST('1' AS char(3)) AS integer);
SELECT CAST(CAST('1' AS char(3)) AS json);
SELECT TRY_CAST(CAST('1' AS char(3)) AS uuid);
SELECT replace(CAST('ab' AS char(4)), 'a', 'b');
SELECT strpos(CAST('ab' AS char(4)), 'b');
SELECT concat_ws('-', CAST('a' AS char(2)), 'b');
SELECT soundex(CAST('a' AS char(2)));
SELECT rpad(CAST('b' AS char(1)), 3, 'x');
SELECT concat(CAST('ab' AS char(2)), 'x', 'y');
-- edge: functions that the generator found to differ
SELECT split_part('abc', NULL, 1), substr('abc', NULL, 0), substr('abc', 0, NULL), concat_ws('-', ARRAY['a', NULL, 'b']), concat_ws('-', map_keys(MAP())), url_extract_host('Ab,c'), url_extract_host('a b'), url_extract_host('http://a_b.c/x');
SELECT id, concat_ws(v, tags), concat_ws(s, ARRAY['x', NULL, 'y']), array_join(tags, v) FROM a.main.cell ORDER BY id;
SELECT lpad('abc', 3, '');
SELECT lpad(CAST(NULL AS varchar), 3, ''), lpad('abc', NULL, 'x'), rpad('abc', 2, 'x');
SELECT array_remove(ARRAY[0.1e0], nan()), array_remove(ARRAY[nan(), 1e0], nan()), array_remove(ARRAY[nan(), 1e0], 1e0), array_except(ARRAY[3, 3, 1], ARRAY[]), array_except(ARRAY[3, 3, NULL, NULL], ARRAY[1]);
SELECT repeat(1, -1);
SELECT repeat('a', 0), repeat(NULL, 2), repeat(ARRAY[1], 2);
SELECT cosine_similarity(ARRAY[1e0, NULL], ARRAY[1e0, 2e0]), dot_product(ARRAY[1e0, NULL], ARRAY[1e0, 2e0]), euclidean_distance(ARRAY[1e0, NULL], ARRAY[1e0, 2e0]), euclidean_distance(CAST(NULL AS array(double)), ARRAY[1e0]);
SELECT cosine_similarity(ARRAY[0e0], ARRAY[1e0]);
SELECT cosine_similarity(ARRAY[NULL, NULL], ARRAY[1e0]);
SELECT format('%.2f|%5d|%s|%.1s|%10.2f|%,d|%08.1f', CAST(NULL AS double), CAST(NULL AS bigint), CAST(NULL AS varchar), 'abc', CAST(NULL AS double), CAST(NULL AS bigint), CAST(NULL AS double));
SELECT from_unixtime(nan()), from_unixtime(0);
SELECT from_unixtime(infinity());
SELECT from_unixtime(1e300);
-- refused: moments outside of the years 1 to 9999
SELECT from_unixtime(1e12);
SELECT truncate(BIGINT '5'), truncate(SMALLINT '5'), truncate(TINYINT '-5'), truncate(CAST(NULL AS integer)), mod(-10.5e0, 3), mod(10.5e0, -3), (-mod(10.5e0, 3)), 5e0 % 0;
SELECT round(CAST('9999999999999999999999999999.9999999999' AS decimal(38, 10)), -1);
SELECT round(CAST('9999999999999999999999999989.9999999999' AS decimal(38, 10)), -1), round(CAST(NULL AS decimal(38, 2)), 1), round(CAST(-2.55 AS decimal(38, 2)), 1);
SELECT to_big_endian_32(BIGINT '1');
SELECT bitwise_left_shift(1, BIGINT '2');
SELECT bitwise_left_shift(BIGINT '1', -2), bitwise_left_shift(1, -2), bitwise_right_shift(BIGINT '-1', -2), bitwise_right_shift(-1, -2), bitwise_right_shift_arithmetic(BIGINT '-8', -2);
SELECT codepoint(CAST('' AS varchar(1)));
SELECT codepoint(v) FROM a.main.cell;
SELECT reverse(X'0102'), reverse(X''), substr(X'010203', 2), substr(X'010203', -2, 1), substr(X'010203', 0), substr(X'010203', 2, 9), substr(CAST(NULL AS varbinary), 1), sha512(substr(X'0102', 1)), md5(greatest(X'01', X'02'));
SELECT element_at(MAP(ARRAY[3], ARRAY['x']), BIGINT '3'), MAP(ARRAY[1], ARRAY[2])[BIGINT '1'], element_at(MAP(), 'x'), transform_keys(MAP(), (k, v) -> upper(k)), map_zip_with(MAP(ARRAY['a'], ARRAY[1]), CAST(NULL AS map(varchar, integer)), (k, a, b) -> a + b);
SELECT map_zip_with(MAP(ARRAY['x'], ARRAY[3]), if((1 = ANY (SELECT qty FROM b.main.sale)), MAP(ARRAY['x', 'y'], ARRAY[4, 5])), (k, a, b) -> a + b);
SELECT reduce(ARRAY[1.50, 2.005], 0.0, (s, x) -> CAST(s + coalesce(x, 1) AS decimal(2, 1)), s -> s), reduce(sequence(0, 10, 3), 0, (s, x) -> s + x, s -> s);
SELECT to_iso8601(TIMESTAMP '2024-01-31 00:00:00'), to_iso8601(TIMESTAMP '2024-01-31 00:00:00.1'), with_timezone(date_add('day', 0, DATE '2020-01-01'), 'Europe/Oslo'), from_iso8601_date('12'), human_readable_seconds(3.4e38);
SELECT date_diff('millisecond', TIMESTAMP '1969-12-31 23:59:59.999999', TIMESTAMP '2024-03-31 01:30:00 UTC'), date_diff('millisecond', TIMESTAMP '1969-12-31 23:59:59.999999', TIMESTAMP '1970-01-01 00:00:00');
SELECT TIMESTAMP '2024-03-10 02:15:00.123 UTC' AT TIME ZONE 'America/New_York' = TIMESTAMP '2024-03-10 02:15:00.123', DATE '2024-03-10' < TIMESTAMP '2024-03-09 23:15:00 -05:00', TIMESTAMP '2024-03-10 00:00:00' BETWEEN TIMESTAMP '2024-03-09 23:15:00 -05:00' AND DATE '2024-03-11';
-- refused: moments in several zones in one column
SELECT coalesce(DATE '2020-01-01', TIMESTAMP '2024-03-09 23:15:00 -05:00');
-- edge: JSON
SELECT CAST(nan() AS json), CAST(ARRAY[infinity(), -infinity()] AS json), CAST(REAL '0.1' AS json), json_parse('[-1e400, 1e-400, 123456789012345678901234567890]');
SELECT CAST(JSON '0.1' AS varchar), CAST(JSON '[0.1, 1.0, 100.0, 1e10, 12, 0.0, -0.0]' AS array(varchar)), CAST(JSON '{"a":0.5}' AS map(varchar, varchar)), CAST(JSON '[0.5]' AS row(a varchar));
SELECT CAST(CAST(NULL AS json) AS row(x integer, y varchar)), CAST(JSON 'null' AS row(x integer)), CAST(JSON '[1.5, "b"]' AS row(x integer, y varchar));
SELECT CAST(JSON '[1, 2, 3]' AS row(x integer, y integer));
SELECT CAST(JSON '[1]' AS row(x integer, y integer));
SELECT CAST(CAST(ROW(1, 2) AS row(z integer, y integer)) AS json), json_extract('{"z": 1, "b": {"y": 2, "a": 3}}', '$.b'), json_parse('{"z": 1, "b": 2}'), CAST(MAP(ARRAY['z', 'b'], ARRAY[1, 2]) AS json);
SELECT TRY_CAST(regexp_replace(s, '[a-c]+', '<$0>') AS char(1)) FROM a.main.cell WHERE id = 1;
-- refused: try of what refuses values at run time
SELECT TRY(from_iso8601_timestamp('2020-01-01T00:00:00.123456'));
-- refused: try of a subquery
SELECT TRY(CASE WHEN EXISTS (SELECT 1 FROM b.main.sale) THEN 1 ELSE 0 END);
-- edge: shapes that the generator found to differ
SELECT transform(a, x -> ok), count(*) FROM a.main.cell GROUP BY 1;
SELECT transform(a, x -> x + 1), max(ok) FROM a.main.cell GROUP BY transform(a, x -> x + 1);
SELECT id, greatest(TRY_CAST(upper(trim(s)) AS uuid), if((-7 > ALL (SELECT qty FROM b.main.sale WHERE qty IS NOT NULL)), CAST(NULL AS uuid))) FROM a.main.cell ORDER BY id;
SELECT c.id, CASE (SELECT max(qty) FROM b.main.sale) WHEN 5 THEN 'five' WHEN 4 THEN 'four' END, (SELECT max(amount) FROM b.main.sale) / 3, greatest((SELECT min(id) FROM b.main.sale), c.id) FROM a.main.cell AS c ORDER BY c.id;
SELECT X'', X'00' = X'0000', s.id FROM a.main.cell AS c JOIN b.main.sale AS s ON s.cell = c.id ORDER BY s.id;
SELECT X'00', X'0000', count(*) FROM b.main.sale GROUP BY X'00', X'0000';
SELECT id FROM a.main.cell ORDER BY 'x', TRUE, NULL, id LIMIT 2;
SELECT json_extract_scalar('{}', '$.n') < element_at(MAP(ARRAY[3], ARRAY[NULL]), 3);
-- refused: aggregates of lambdas in HAVING
SELECT kind FROM b.main.sale GROUP BY kind HAVING map_agg(id, qty) IS NOT NULL;
SELECT DISTINCT c.d AS p, NULL AS q, 'x' AS r FROM a.main.cell AS c WHERE c.id IN (1, 2, 5, 6) ORDER BY q, r, 1 NULLS FIRST LIMIT 2;
SELECT CAST(CAST('0' AS decimal(20, 11)) AS json), CAST(CAST('0.00000001' AS decimal(20, 11)) AS json), CAST(CAST('-12.00000001' AS decimal(20, 11)) AS json), CAST(ARRAY[1.5, CAST('0' AS decimal(20, 7))] AS json);
SELECT array_union(if((3 = ANY (SELECT qty FROM b.main.sale)), ARRAY[7], ARRAY[8]), ARRAY[1]), json_array_length(element_at(MAP(ARRAY[3], ARRAY[NULL]), 3)), array_intersect(ARRAY['b', 'a', 'b'], split('a,b,,c', ',')), array_intersect(ARRAY[3, 1, NULL], sequence(1, 4)), nan() NOT IN (1e0, CAST(NULL AS double)), nan() IN (nan(), 1e0), bitwise_right_shift(SMALLINT '12', -128), bitwise_left_shift(TINYINT '-128', -128), bitwise_left_shift(1, 40), bitwise_right_shift_arithmetic(-8, 40);
SELECT 'a' LIKE CAST('a' AS char(2));
SELECT array_except(flatten(if(TRUE, ARRAY[ARRAY[BIGINT '7']])), CASE WHEN (100 IN (SELECT qty FROM b.main.sale)) THEN CAST(array_sort(ARRAY[7]) AS array(bigint)) ELSE array_intersect(ARRAY[BIGINT '7'], reverse(sequence(1, 4))) END);
-- refused: a window over what DuckDB takes for volatile
SELECT id, count(*) OVER (PARTITION BY (s || s)) FROM a.main.cell ORDER BY id;
SELECT floor(100), count(*) FROM b.main.sale GROUP BY floor(100);
SELECT id, qty FROM b.main.sale ORDER BY floor(2), id DESC LIMIT 3;
SELECT truncate(NULL), truncate(5), array_histogram(if((1 NOT IN (SELECT id FROM b.main.sale)), ARRAY['x', 'y'], ARRAY['z']));
SELECT sum(NULL) FROM b.main.sale;
SELECT avg(NULL) FROM b.main.sale;
SELECT id, (0.333 * w) % abs(w), w % 7, w % 0.3, m % n, split_part(s, '', 1) FROM a.main.cell WHERE id IN (1, 2) ORDER BY id;
SELECT CAST('9999999999999999999999999999.9999999999' AS decimal(38, 10)) % 3.5, CAST('-9999999999999999999999999999.9999999999' AS decimal(38, 10)) % 7, DECIMAL '12345678901234567890' % 1.5, CAST(NULL AS decimal(38, 2)) % 3, split_part('', '', 1);
SELECT CAST('9999999999999999999999999999.9999999999' AS decimal(38, 10)) % 0.0;
-- edge: a zone after a time changes nothing for a timestamp without one, if there is such a zone
SELECT TRY_CAST('2024-01-02 03:04:05 UTC' AS timestamp), CAST('2024-01-02 03:04:05 Europe/Oslo' AS timestamp(3)), CAST('2024-01-02 03:04:05+01:00' AS timestamp(3)), CAST('2024-01-02 UTC' AS timestamp(0)), CAST('2024-01-02 03:04:05.123UTC' AS timestamp(3)), TRY_CAST('2024-01-02  UTC' AS timestamp), TRY_CAST('2024-01-02 03:04:05Z' AS timestamp);
SELECT TRY_CAST('2024-01-02 03:04:05 xyz' AS timestamp), TRY_CAST('2024-01-02 03:04:05 Europe/Nowhere' AS timestamp), TRY_CAST('2024-01-02 03:04:05 +99:00' AS timestamp), TRY_CAST('2024-01-02T03:04:05' AS timestamp), TRY_CAST('2024-01-02 3:4:5x y z' AS timestamp), TRY_CAST('2024-01-02 1:' AS timestamp), TRY_CAST('2024-01-02 03:04:05.Z' AS timestamp);
SELECT TRY_CAST(z AS timestamp) FROM (VALUES '2024-01-02 01:00 utc', '2024-01-02 01:00 +1', '2024-01-02 01:00 +1:00', '2024-01-02 01:00 +0100', '2024-01-02 01:00 +18:00', '2024-01-02 01:00 +18:01', '2024-01-02 01:00 europe/oslo', '2024-01-02 01:00 UTC+1', '2024-01-02 01:00 CET', '2024-01-02 01:00 EST', NULL) AS t(z);
SELECT CAST('2024-01-02 03:04:05 UTC' AS date);
SELECT TIMESTAMP '2024-01-02 01:00  UTC', DATE ' 2024-01-02 ';
-- edge: digits that a type has no room for round, also to midnight and to the next day
SELECT TRY_CAST('2024-01-02 03:04:05.1234567 UTC' AS timestamp(6)), TRY_CAST('2024-01-02 23:59:59.9999995' AS timestamp(6)), TRY_CAST('2024-01-02 03:04:05.1234994' AS timestamp(3)), TRY_CAST('2024-01-02 03:04:05.12349999' AS timestamp(4)), TRY_CAST('2024-01-02 03:04:05.1234567890123' AS timestamp(4));
SELECT CAST('23:59:59.9999999' AS time(6)), CAST('23:59:59.99999949' AS time(6)), CAST('23:59:59.9999999' AS time(3)), TRY_CAST('1:2:3.123456789012' AS time(3)), TRY_CAST('1:2:3.1234567890123' AS time(3)), TRY_CAST(' 1:2:3' AS time(3)), TRY_CAST('1:2:3 ' AS time(3)), TRY_CAST('24:00:00' AS time(3)), TRY_CAST('01:02:03.' AS time(3));
SELECT TRY_CAST(t AS timestamp(3)) FROM (VALUES '2024-01-02 24:00:00', '2024-01-02 23:60:00', '2024-01-02 23:59:60', '2024-02-30 23:59:00', '  2024-02-03 23:59:00  ') AS t(t);
SELECT TRY_CAST(chr(9) || '2024-01-02' AS date), TRY_CAST(chr(8195) || '2024-01-02 01:00' AS timestamp), TRY_CAST(chr(160) || '2024-01-02 01:00' AS timestamp);
SELECT TIME ' 1:2:3';
SELECT TIMESTAMP ' 2024-01-02 01:00 ';
-- edge: eight bytes of NaN are the same for each NaN
SELECT to_ieee754_64(nan()), to_ieee754_64(-nan()), to_ieee754_64(0e0 / 0e0), to_ieee754_64(sqrt(-1e0)), to_ieee754_64(f - f / 0e0 * 0e0) FROM a.main.cell WHERE id = 1;
-- edge: a bare NULL that may be several things
SELECT round(NULL), round(NULL, 1), array_max(NULL), array_min(NULL), map_concat(NULL, NULL), map_from_entries(NULL), map_union(NULL), to_iso8601(NULL), to_unixtime(NULL);
SELECT lpad(NULL, 1, NULL);
SELECT lpad(NULL, NULL, X'00'), rpad(X'00', 1, NULL), lpad(NULL, 1, 'a'), lpad('a', 1, NULL);
SELECT reverse(NULL);
SELECT substr(NULL, 1);
SELECT concat(NULL, NULL, NULL);
SELECT concat('a', NULL, NULL);
SELECT sequence(NULL, NULL);
SELECT sequence(NULL, 1), sequence(DATE '2024-01-01', NULL), sequence(NULL, 1, 2);
SELECT json_extract_scalar(NULL, '$.a');
SELECT id, transform_values(map_filter(MAP(ARRAY[3], ARRAY[NULL]), (k, v) -> v IS NOT NULL), (k, v) -> lpad(v, 1, v)) FROM a.main.cell WHERE id IN (1, 2);
SELECT map_concat(MAP(), array_histogram(map_values(MAP(ARRAY[3], ARRAY[NULL]))));
-- edge: a joined char has no blanks behind it where it is compared
SELECT nullif(concat(CAST('' AS char(2)), CAST('' AS char(2))), CAST('' AS char(2))), concat(CAST('a' AS char(2)), CAST('b ' AS char(2))) || '|', concat(CAST('a' AS char(2)), CAST(' ' AS char(3))) = CAST('a' AS char(1));
-- edge: a capital Y is a letter as any other
SELECT word_stem('Y000'), word_stem('Yes'), word_stem('yes'), word_stem('YOUTH'), word_stem('sayY'), word_stem('Yay'), word_stem('flYing'), word_stem('enjoYed'), word_stem('enjoyed'), word_stem('yEYe');
-- edge: TRY holds what stands in it, also where that stands twice in the statement
SELECT id, TRY(CAST(s AS integer) + CAST(s AS integer)) FROM a.main.cell;
SELECT id, TRY(CAST(s AS integer)), TRY(CAST(s AS integer) + 1) FROM a.main.cell;
SELECT id, TRY(i / ti), TRY(i / ti + 1), TRY(abs(i / ti)) FROM a.main.cell;
SELECT id, TRY((INTERVAL '-13' MONTH / ti)), coalesce(INTERVAL '2' YEAR, INTERVAL '1' YEAR / ti) FROM a.main.cell WHERE id IN (1, 2, 5, 6);
SELECT TRY(i / ti) + 1 AS n, count(*) FROM a.main.cell GROUP BY TRY(i / ti) HAVING TRY(i / ti) > 0;
SELECT id FROM a.main.cell WHERE TRY(i / ti) > 0 AND TRY(i / ti) < 100 ORDER BY TRY(i / ti), id;
SELECT id, transform(a, x -> TRY(1 / x)), TRY(transform(a, x -> 1 / x)) FROM a.main.cell WHERE id < 4;
-- refused: TRY of an aggregate or a window
SELECT TRY(sum(i) / count(b)) FROM a.main.cell WHERE id < 3;
-- edge: constants order nothing
SELECT DISTINCT CAST('1' AS boolean) AS p, CAST('abc' AS varchar(5)) AS q FROM a.main.cell AS c WHERE c.id IN (1, 2, 5, 6) AND CAST(NULL AS boolean) ORDER BY q, 1 DESC LIMIT ALL;
SELECT id FROM a.main.cell WHERE id < 3 ORDER BY NULL, TRUE, CAST('a' AS varchar(3)), 'x', id DESC;
SELECT id, row_number() OVER (ORDER BY CAST('a' AS varchar(3)), NULL, id) FROM a.main.cell WHERE id < 3;
-- edge: a string that was taken out of JSON is no JSON any more
SELECT CAST(json_array_get(JSON '[1, "x", true]', 1) AS array(bigint));
SELECT CAST(json_array_get(JSON '[1, "x", true]', 1) AS bigint);
SELECT CAST(json_array_get(JSON '[1, "x", true]', 1) AS varchar);
SELECT CAST(json_array_get(JSON '[1, "x", true]', 1) AS row(x bigint));
SELECT CAST(json_array_get(JSON '[1, "5", true]', 1) AS bigint), CAST(json_array_get(JSON '[1, "[1,2]", true]', 1) AS array(bigint)), CAST(ARRAY[json_array_get(JSON '[1, "x", true]', 1)] AS json);
SELECT CAST(ARRAY[JSON '{"b": 1, "a": 2}', NULL] AS json), CAST(MAP(ARRAY['k'], ARRAY[JSON '[1, 2]']) AS json), CAST(ROW(JSON 'null', 1) AS json), CAST(JSON '1' AS json);
-- edge: two digits behind the point of what is below zero
SELECT format_number(-32768), format_number(32768), format_number(-1005), format_number(-1500), format_number(-99950), format_number(-999.999e0), format_number(-999999), format_number(-12345), format_number(-0.5e0), format_number(-1e20), format_number(99950);
-- edge: days between moments are those of the first one's zone
SELECT date_diff('day', with_timezone(TIMESTAMP '2024-03-30 02:30:00', 'Europe/Oslo'), TIMESTAMP '2024-03-31 01:30:00 UTC'), date_diff('day', TIMESTAMP '2024-03-31 01:30:00 UTC', with_timezone(TIMESTAMP '2024-03-30 02:30:00', 'Europe/Oslo')), date_diff('month', with_timezone(TIMESTAMP '2024-01-31 00:30:00', 'Europe/Oslo'), TIMESTAMP '2024-02-29 23:30:00 UTC'), date_diff('day', with_timezone(TIMESTAMP '2024-03-30 02:30:00', 'Europe/Oslo'), DATE '2024-03-31'), date_diff('week', TIMESTAMP '2024-03-10 00:00:00', with_timezone(TIMESTAMP '2024-03-17 00:30:00', 'Europe/Oslo'));
SELECT id, date_diff('day', CAST(d AS timestamp(0) with time zone), with_timezone(TIMESTAMP '2024-01-31 00:00:00', 'Europe/Oslo')), date_diff('year', d, t6), date_diff('month', t6, d), date_diff('quarter', d, ts AT TIME ZONE 'America/New_York') FROM a.main.cell;
SELECT CAST(MAP(ARRAY[CAST('a' AS char(2))], ARRAY[1]) AS json);
-- edge: numbers that are grouped by are no places in the list, but by their place
SELECT 3, round(c.w), max(c.i) FROM a.main.cell AS c WHERE id < 3 GROUP BY 1, 2 HAVING sum(c.i) > -100;
SELECT 2.5, max(c.i) FROM a.main.cell AS c GROUP BY 2.5;
SELECT -1, count(*) FROM a.main.cell GROUP BY 1;
SELECT 1, count(*) FROM a.main.cell GROUP BY 1 ORDER BY 1;
-- edge: coalesce computes what is needed, grouped or not
SELECT id, coalesce(v, format_number(id)), coalesce(INTERVAL '2' YEAR, INTERVAL '1' YEAR / ti), coalesce(s, v, CAST(CAST(s AS integer) + CAST(s AS integer) AS varchar)) FROM a.main.cell;
SELECT coalesce(max(i), round(avg(f))), coalesce(max(v), format_number(max(id))), TRY(upper(s)) FROM a.main.cell WHERE id < 4 GROUP BY upper(s);
SELECT id, sum(sum(coalesce(i, CAST(round(f) AS integer)))) OVER (ORDER BY id), sum(coalesce(sum(i), CAST(round(avg(f)) AS bigint))) OVER () FROM a.main.cell WHERE id IN (1, 2, 5, 6) GROUP BY id;
SELECT coalesce(v, format_number(id)), count(*) FROM a.main.cell GROUP BY coalesce(v, format_number(id)) HAVING max(coalesce(v, format_number(id))) > 'a';
SELECT sum(TRY(CAST(s AS integer) + CAST(s AS integer))), count(coalesce(v, format_number((SELECT max(qty) FROM b.main.sale)))) FROM a.main.cell;
-- edge: summer time beyond 2037, by the last rule that is known
SELECT id, at_timezone(date_trunc('hour', from_unixtime(BIGINT '5000000000')), 'America/New_York'), CAST(NULL AS timestamp(3)) AT TIME ZONE 'Europe/Oslo', (TIMESTAMP '2050-07-01 12:00:00.123456' + id * INTERVAL '30' DAY) AT TIME ZONE 'Europe/Oslo', TIMESTAMP '2050-07-01 12:00:00 UTC' AT TIME ZONE '+05:30' FROM a.main.cell;
SELECT -7, max(c.d) FROM a.main.cell AS c GROUP BY -7;
-- edge: soundex passes over what is no letter, and takes A to Z
SELECT soundex('aß'), soundex(chr(66560) || 'ab'), soundex('aᛮb'), soundex(chr(0) || chr(65533) || 'ab'), soundex('a😀b'), soundex('--');
SELECT soundex('É');
SELECT id, TRY(CAST(JSON '[1, "x", true]' AS map(varchar, integer))), TRY(1 / 0), transform(a, x -> TRY(1 / 0)) FROM a.main.cell WHERE id < 4;
SELECT TRY(1 / 0) AS x, count(*) FROM a.main.cell GROUP BY TRY(1 / 0);
-- edge: decimals with many digits behind the point
SELECT CAST(0.4995 AS decimal(38,20)) / CAST(3 AS bigint), CAST(0.4995 AS decimal(38,20)) / 7, CAST(-123456.4995 AS decimal(38,20)) / 7, CAST(NULL AS decimal(38,20)) / 2, CAST(-5.4995 AS decimal(30,25)) / 7;
SELECT CAST(0.4995 AS decimal(38,20)) % CAST(0.3 AS decimal(38,20)), CAST(0.4995 AS decimal(38,20)) % 3;
SELECT avg(x), sum(x) FROM (VALUES CAST(0.4995 AS decimal(30,28)), CAST(-0.7 AS decimal(30,28))) AS t(x);
-- edge: doubles and reals beyond integers
SELECT CAST(REAL 'Infinity' AS bigint), CAST(REAL '-1e20' AS bigint), CAST(REAL '2.5' AS bigint), CAST(REAL '-2.5' AS bigint), TRY_CAST(REAL 'NaN' AS bigint), CAST(CAST(NULL AS real) AS bigint), TRY_CAST(infinity() AS integer);
SELECT CAST(infinity() AS integer);
SELECT CAST(REAL 'NaN' AS bigint);
SELECT date_diff('day', NULL, DATE '2024-01-01'), date_diff('day', NULL, TIMESTAMP '2024-01-01 00:00:00 UTC'), date_diff('day', with_timezone(TIMESTAMP '2024-03-30 02:30:00', 'Europe/Oslo'), NULL);
SELECT id, lower(to_hex(bin)), lower(to_hex(md5(to_utf8(s)))), upper(to_hex(bin)) FROM a.main.cell;

-- a condition that reads no column, and fails, in a TRY
SELECT id, TRY(CASE WHEN luhn_check('-7') THEN 1 ELSE 2 * ti END) FROM a.main.cell WHERE id IN (1, 2, 5, 6);
SELECT id, TRY(if(1 / 0 = 1, ti, 2)) FROM a.main.cell WHERE id IN (1, 2, 5, 6);
SELECT id, CASE WHEN abs(-3) = 3 THEN ti ELSE 2 END FROM a.main.cell WHERE id IN (1, 2, 5, 6);
SELECT id, TRY(CASE WHEN b > 5 THEN CAST(JSON '[1, "x", true]' AS row(x integer, y varchar)) ELSE CAST(ROW(NULL, 'é') AS row(x integer, y varchar)) END) FROM a.main.cell;
