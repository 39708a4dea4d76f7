SELECT json_parse('{"b": 1, "a": [1, 2]}'), json_format(JSON '{"b": 1, "a": 2}'), json_extract('{"a": {"b": 1}}', '$.a'), json_extract_scalar('{"a": {"b": 1}}', '$.a.b'), json_size('{"a": {"b": 1, "c": 2}}', '$.a'), json_array_length('[1, 2, 3]'), json_array_contains('[1, 2, 3]', 2), json_array_get('["a", "b"]', 1), is_json_scalar('1');
SELECT json_parse(NULL), json_format(NULL), json_extract(CAST(NULL AS varchar), '$.a'), json_extract_scalar('{"a": null}', '$.a'), json_extract_scalar(CAST(NULL AS json), '$.a'), json_size(CAST(NULL AS varchar), '$.a'), json_array_length(CAST(NULL AS varchar)), json_array_contains('[1, 2]', CAST(NULL AS bigint)), json_array_contains(CAST(NULL AS varchar), 1), json_array_get('[1]', NULL), json_array_get(CAST(NULL AS varchar), 0), is_json_scalar(CAST(NULL AS varchar));
-- edge: empty and null
SELECT json_parse('{}'), json_parse('[]'), json_parse('""'), json_parse('null'), json_parse(' 1 '), json_format(JSON '""'), json_format(JSON 'null'), json_extract('{}', '$.a'), json_extract('null', '$'), json_extract_scalar('""', '$'), json_extract_scalar('[]', '$[0]'), json_size('{}', '$'), json_size('[]', '$'), json_size('1', '$'), json_array_length('[]'), json_array_length('{}'), json_array_contains('[]', 1), json_array_contains('{}', 1), json_array_get('[]', 0), json_array_get('[null]', 0), is_json_scalar('null'), is_json_scalar('[]'), is_json_scalar('""');
-- edge: numbers as they are written
SELECT json_parse('1.0'), json_parse('1e5'), json_parse('-0'), json_parse('12345678901234567890'), json_parse('0.1e-7'), json_format(JSON '1.50'), json_extract('{"a": 1.10}', '$.a'), json_extract_scalar('{"a": 1.10}', '$.a'), json_extract_scalar('{"a": 1e2}', '$.a'), json_extract_scalar('{"a": 12345678901234567890}', '$.a'), json_array_contains('[1.0]', 1), json_array_contains('[1]', 1e0), json_array_contains('[9223372036854775807]', 9223372036854775807), json_array_contains('[1.5]', 1.5e0);
-- edge: beyond ASCII, escapes and paths in brackets
SELECT json_parse('"\u00e9\ud83d\ude00"'), json_parse('"a\/b\n"'), json_format(json_parse('"é😀"')), json_extract('{"é": "中"}', '$["é"]'), json_extract_scalar('{"a b": {"c.d": "x"}}', '$["a b"]["c.d"]'), json_extract_scalar('{"a": "\u0041\t"}', '$.a'), json_size('{"é": [1, 2]}', '$["é"]'), json_array_contains('["é"]', 'é'), json_array_get('["é", "😀"]', 1), json_array_contains('[true, "true"]', TRUE), json_array_contains('["1"]', 1), json_extract_scalar('{"a": true}', '$.a');
-- edge: from the end, and beyond it
SELECT json_array_get('[1, 2, 3]', -1), json_array_get('[1, 2, 3]', -3), json_array_get('[1, 2, 3]', -4), json_array_get('[1, 2, 3]', 3), json_array_get('{"a": 1}', 0), json_array_get('[[1], {"a": 2}]', 1), json_array_get('[1.0, "x", true]', 0), json_extract('[1, 2]', '$[5]'), json_extract('[[1, 2], [3]]', '$[0][1]'), json_size('{"a": [1, [2, 3]]}', '$.a[1]');
-- edge: not JSON
SELECT json_extract('{"a"', '$.a'), json_extract_scalar('no', '$'), json_size('no', '$'), json_array_length('no'), json_array_contains('no', 1), json_array_get('no', 0);
-- edge: not JSON
SELECT json_parse('{a: 1}');
-- edge: not JSON
SELECT json_parse('');
-- edge: two values
SELECT json_parse('1 2');
-- edge: not JSON
SELECT is_json_scalar('no');
-- edge: no path
SELECT json_extract('{"a": 1}', 'a[');
-- edge: no path
SELECT json_size('{"a": 1}', '$.');
-- edge: not a text
SELECT json_array_length(1);
-- edge: not JSON's type
SELECT json_format('{"a": 1}');
-- edge: of another type
SELECT json_array_contains('[1]', DATE '2024-01-01');
-- edge: keys twice
SELECT json_parse('{"a": 1, "a": 2}');
