SELECT json_extract_scalar('{"a": {"b": "x"}, "n": 1}', '$.a.b'), json_extract_scalar('{"n": 1.50}', '$.n'), json_extract_scalar('[1, "two"]', '$[1]'), json_extract_scalar('{"a": true}', '$.a'), json_extract_scalar('{"a": null}', '$.a'), json_extract_scalar('{"a": []}', '$.a'), json_extract_scalar(CAST(NULL AS varchar), '$.a');
SELECT json_extract_scalar('{"n": 1e2}', '$.n'), json_extract_scalar('{"n": 12345678901234567890}', '$.n'), json_extract_scalar('{"a b": 1}', '$["a b"]'), json_extract_scalar('{"a": "q\"\u00e9"}', '$.a'), json_extract_scalar('{"a": 1}', '$.b'), json_extract_scalar('no', '$.a');
SELECT id, json_extract_scalar(j, '$.a.b'), json_extract_scalar(j, '$[0]'), json_extract_scalar(j, '$') FROM a.main.cell;
SELECT id, json_extract(j, '$.a'), json_extract(j, '$[1]'), json_extract(j, '$') FROM a.main.cell;
SELECT json_extract('{"a": 1, "b": [1, 2.50, "x"]}', '$'), json_extract('{"a": {"b": 1, "c": 2}}', '$.a'), json_extract('[1]', '$[5]'), json_extract('{"a":1}', '$.a');
SELECT json_parse('{"b": 1, "a": 2}'), json_parse('[1, 2.0, 1e3, "x", null, true]'), json_parse('"x"'), json_parse('1'), json_parse('null'), json_parse(NULL);
SELECT json_parse('{bad');
SELECT json_parse('');
SELECT json_format(JSON '{"b": 1, "a": [1, 2]}'), json_format(json_parse('[1, 2.50]')), json_format(NULL), json_format(JSON '"x"');
SELECT JSON '{"b": 1, "a": 2}', JSON '[1, 2]', JSON '1.10';
SELECT json_array_length('[1, 2, 3]'), json_array_length('[]'), json_array_length('{"a": 1}'), json_array_length(NULL), json_array_length('bad');
SELECT json_array_contains('[1, 2, 3]', 2), json_array_contains('[1, "2"]', '2'), json_array_contains('[true]', true), json_array_contains('[1.5]', 1.5e0), json_array_contains('[]', 1), json_array_contains(NULL, 1), json_array_contains('[null]', 1);
SELECT json_array_get('["a", [3, 9], "c"]', 0), json_array_get('["a", [3, 9], "c"]', 1), json_array_get('["a"]', -1), json_array_get('["a"]', 5), json_array_get(NULL, 0);
SELECT json_size('{"x": {"a": 1, "b": 2}}', '$.x'), json_size('{"x": [1, 2, 3]}', '$.x'), json_size('{"x": 1}', '$.x'), json_size('{}', '$.x'), json_size(NULL, '$');
SELECT is_json_scalar('1'), is_json_scalar('[1]'), is_json_scalar('"x"'), is_json_scalar('null'), is_json_scalar(NULL);
SELECT CAST(1 AS json), CAST('x' AS json), CAST(1.50 AS json), CAST(1e0 AS json), CAST(TRUE AS json), CAST(NULL AS json), CAST(DATE '2020-01-01' AS json), CAST(TIMESTAMP '2020-01-01 01:02:03' AS json);
SELECT CAST(ARRAY[1, NULL, 3] AS json), CAST(MAP(ARRAY['b', 'a'], ARRAY[1, 2]) AS json), CAST(ROW(1, 'x') AS json), CAST(CAST(ROW(1, 'x') AS row(a integer, b varchar)) AS json), CAST(ARRAY['a', 'b'] AS json);
SELECT id, CAST(i AS json), CAST(s AS json), CAST(n AS json), CAST(a AS json), CAST(tags AS json) FROM a.main.cell;
SELECT CAST(JSON '1' AS integer), CAST(JSON '"x"' AS varchar), CAST(JSON '1.5' AS double), CAST(JSON 'true' AS boolean), CAST(JSON 'null' AS integer), CAST(JSON '12' AS varchar), CAST(JSON '1.25' AS decimal(5, 1)), CAST(JSON '"7"' AS bigint);
SELECT CAST(JSON '"x"' AS integer);
SELECT CAST(JSON '[1, 2, null]' AS array(integer)), CAST(JSON '{"a": 1}' AS map(varchar, integer)), CAST(JSON '{"a": 1, "b": "x"}' AS row(a integer, b varchar)), CAST(JSON '[1, "x"]' AS row(integer, varchar));
SELECT CAST(json_parse('[[1, 2], [3]]') AS array(array(bigint))), CAST(JSON '["a", 1, true, null]' AS array(varchar));
SELECT CAST(JSON '{"a": 1}' AS array(integer));
SELECT TRY_CAST(JSON '"x"' AS integer), TRY_CAST(json_parse(j) AS bigint) FROM a.main.cell WHERE id = 2;
-- refused: a part that does not fit would have to void the whole
SELECT TRY_CAST(json_parse(j) AS map(varchar, integer)) FROM a.main.cell WHERE id = 2;
SELECT JSON '{"a": 1, "b": 2}' = JSON '{"b": 2, "a": 1}', JSON '1' = JSON '1.0', JSON '[1]' = JSON '[1]';
-- refused: SQL/JSON paths, use json_extract
SELECT json_exists('{"a": 1}', 'lax $.a'), json_exists('{"a": 1}', 'lax $.b'), json_exists('{"a": 1}', 'strict $.b'), json_exists(NULL, 'lax $.a');
-- refused: SQL/JSON paths, use json_extract_scalar
SELECT json_value('{"a": 1}', 'lax $.a'), json_value('{"a": "x"}', 'lax $.a'), json_value('{"a": 1}', 'lax $.b'), json_value('{"a": 1}', 'lax $.a' RETURNING integer), json_value('{"a": 1}', 'lax $.b' DEFAULT 'none' ON EMPTY);
-- refused: SQL/JSON paths, use json_extract
SELECT json_query('{"a": [1, 2]}', 'lax $.a'), json_query('{"a": [1, 2]}', 'lax $.a[*]' WITH ARRAY WRAPPER), json_query('{"a": 1}', 'lax $.b');
-- refused: SQL/JSON constructors, use CAST(.. AS json)
SELECT json_array(1, 'x', TRUE), json_object('a': 1, 'b': 'x'), json_object(KEY 'a' VALUE 1);
SELECT json_extract_scalar(json_parse('{"a": 5}'), '$.a'), json_array_length(json_parse('[1, 2]')), json_extract(json_parse('{"a": {"z": 1, "b": 2}}'), '$.a');
SELECT json_extract_scalar('{"store": {"book": [{"t": "a"}, {"t": "b"}]}}', '$.store.book[1].t'), json_extract('{"store": {"book": [{"t": "a"}]}}', '$.store.book'), json_extract_scalar('{"a": {"1": 5}}', '$.a.1'), json_extract_scalar('[[1, 2]]', '$[0][1]');
SELECT json_extract('{"b": 1, "a": {"d": 1, "c": [2]}}', '$'), json_extract('{"b": 1, "a": {"d": 1, "c": [2]}}', '$.a'), json_format(json_extract('{"z": 1, "y": 2}', '$')), json_extract(json_parse('{"z": 1, "y": 2}'), '$'), json_size('{"z": 1, "y": {"b": 2}}', '$.y'), json_array_get('[{"z": 1, "y": 2}]', 0);
