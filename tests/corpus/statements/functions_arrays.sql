SELECT cardinality(ARRAY[1, 2]), contains(ARRAY[1, 2], 2), array_position(ARRAY['a', 'b'], 'b'), array_distinct(ARRAY[1, 1, 2]), array_sort(ARRAY[2, 1]), array_max(ARRAY[1, 3, 2]), array_min(ARRAY[2, 1]), array_join(ARRAY['a', 'b'], '-'), array_remove(ARRAY[1, 2, 1], 1), array_histogram(ARRAY['a', 'b', 'a']), reverse(ARRAY[1, 2]);
SELECT cardinality(CAST(NULL AS array(integer))), contains(CAST(NULL AS array(integer)), 2), array_position(ARRAY['a', NULL], NULL), array_distinct(ARRAY[NULL, 1, NULL]), array_sort(ARRAY[2, NULL, 1]), array_max(ARRAY[1, NULL]), array_min(ARRAY[NULL, NULL]), array_join(ARRAY['a', NULL], '-'), array_join(ARRAY['a'], NULL), array_remove(ARRAY[1, NULL], NULL), array_histogram(ARRAY['a', NULL]), reverse(ARRAY[1, NULL]);
-- edge: empty
SELECT cardinality(ARRAY[]), contains(ARRAY[], 1), array_position(CAST(ARRAY[] AS array(integer)), 1), array_distinct(ARRAY[]), array_sort(ARRAY[]), array_max(CAST(ARRAY[] AS array(integer))), array_min(CAST(ARRAY[] AS array(varchar))), array_join(ARRAY[], '-'), array_remove(CAST(ARRAY[] AS array(integer)), 1), array_histogram(CAST(ARRAY[] AS array(varchar))), reverse(CAST(ARRAY[] AS array(integer)));
-- edge: what is no number
SELECT contains(ARRAY[nan()], nan()), array_position(ARRAY[1e0, nan()], nan()), array_distinct(ARRAY[nan(), nan(), 0e0, -0e0]), array_sort(ARRAY[nan(), 1e0, NULL, -infinity()]), array_max(ARRAY[nan(), 1e0]), array_min(ARRAY[1e0, nan()]), array_remove(ARRAY[1e0, nan()], nan()), array_union(ARRAY[nan()], ARRAY[nan()]), array_intersect(ARRAY[nan()], ARRAY[nan()]), array_except(ARRAY[nan()], ARRAY[nan()]), arrays_overlap(ARRAY[nan()], ARRAY[nan()]);
-- edge: arrays and rows inside
SELECT array_distinct(ARRAY[ARRAY[1], ARRAY[1], ARRAY[2]]), array_distinct(ARRAY[ROW(1, 'a'), ROW(1, 'a')]), array_sort(ARRAY[ARRAY[2], ARRAY[1, 5], ARRAY[1]]), contains(ARRAY[ARRAY[1]], ARRAY[1]), array_position(ARRAY[ROW(1, 2)], ROW(1, 2)), array_max(ARRAY[ARRAY[1], ARRAY[2]]), array_remove(ARRAY[ARRAY[1], ARRAY[2]], ARRAY[1]), cardinality(ARRAY[ARRAY[]]), array_union(ARRAY[ARRAY[1]], ARRAY[ARRAY[1]]), arrays_overlap(ARRAY[ROW(1)], ARRAY[ROW(1)]);
-- edge: beyond ASCII, and text against integers
SELECT array_sort(ARRAY['é', 'z', 'Z', '😀', '｡']), array_max(ARRAY['😀', '｡']), array_join(ARRAY['日', '本'], '、'), array_join(ARRAY[1.50, NULL, -0.1], ';', '∅'), array_join(ARRAY[1e0, nan()], ','), array_join(ARRAY[TIMESTAMP '2024-01-01 00:00:00.5'], ','), array_distinct(ARRAY['a', 'A', 'a ']), array_histogram(ARRAY[1e0, 1e0]);
-- edge: not an array
SELECT cardinality('a');
-- edge: another type
SELECT contains(ARRAY[1], 'a');
-- edge: another type
SELECT array_position(ARRAY['a'], 1);
-- edge: another type
SELECT array_remove(ARRAY[1], 'a');
-- edge: cannot be ordered
SELECT array_sort(ARRAY[MAP(ARRAY[1], ARRAY[2])]);
-- edge: cannot be ordered
SELECT array_max(ARRAY[MAP(ARRAY[1], ARRAY[2])]);
-- edge: no text for it
SELECT array_join(ARRAY[ARRAY[1]], ',');
SELECT array_union(ARRAY[1, 2], ARRAY[2, 3]), array_intersect(ARRAY[1, 2], ARRAY[2, 3]), array_except(ARRAY[1, 2], ARRAY[2, 3]), arrays_overlap(ARRAY[1, 2], ARRAY[2, 3]), contains_sequence(ARRAY[1, 2, 3], ARRAY[2, 3]), concat(ARRAY[1], ARRAY[2]), flatten(ARRAY[ARRAY[1], ARRAY[2, 3]]), zip(ARRAY[1, 2], ARRAY['a', 'b']), slice(ARRAY[1, 2, 3], 2, 2), trim_array(ARRAY[1, 2, 3], 2), repeat('a', 2), sequence(1, 3), ngrams(ARRAY['a', 'b', 'c'], 2), combinations(ARRAY[1, 2, 3], 2), element_at(ARRAY[1, 2], 2);
SELECT array_union(NULL, ARRAY[1]), array_union(ARRAY[1, NULL], ARRAY[NULL, 2]), array_intersect(NULL, ARRAY[1]), array_except(ARRAY[1], NULL), arrays_overlap(ARRAY[1], NULL), contains_sequence(ARRAY[1, NULL], ARRAY[NULL]), concat(ARRAY[1], CAST(NULL AS array(integer))), flatten(ARRAY[NULL, ARRAY[1, NULL]]), zip(ARRAY[1], CAST(NULL AS array(integer))), slice(ARRAY[1], NULL, 1), trim_array(ARRAY[1], NULL), repeat(NULL, 2), repeat('a', NULL), sequence(1, NULL), ngrams(CAST(NULL AS array(varchar)), 2), combinations(CAST(NULL AS array(integer)), 2), element_at(ARRAY[1], NULL), element_at(CAST(NULL AS array(integer)), 1);
-- edge: empty
SELECT array_union(ARRAY[], ARRAY[]), array_intersect(ARRAY[1], ARRAY[]), array_except(ARRAY[], ARRAY[1]), arrays_overlap(ARRAY[], ARRAY[1]), contains_sequence(ARRAY[], ARRAY[]), concat(CAST(ARRAY[] AS array(integer)), ARRAY[1]), flatten(ARRAY[ARRAY[], ARRAY[1]]), zip(ARRAY[], ARRAY[1, 2]), slice(CAST(ARRAY[] AS array(integer)), 1, 1), trim_array(CAST(ARRAY[] AS array(integer)), 0), repeat('a', 0), ngrams(CAST(ARRAY[] AS array(varchar)), 1), combinations(CAST(ARRAY[] AS array(integer)), 0), combinations(ARRAY[1, 2], 3), element_at(CAST(ARRAY[] AS array(integer)), 1);
-- edge: from the end and beyond it
SELECT slice(ARRAY[1, 2, 3], -2, 1), slice(ARRAY[1, 2, 3], -4, 5), slice(ARRAY[1, 2, 3], 3, 100), element_at(ARRAY[1, 2], -2), element_at(ARRAY[1, 2], -3), element_at(ARRAY[1, 2], 3), ngrams(ARRAY['a', 'b'], 100), combinations(ARRAY['a', 'a', 'b', 'c', 'd'], 4), combinations(ARRAY[1, 2, 3, 4, 5], 5), combinations(ARRAY[3, 1, 2], 1), zip(ARRAY[1], ARRAY[2], ARRAY[3], ARRAY[4], ARRAY[5]);
-- edge: dates, months and steps back
SELECT sequence(3, 1), sequence(-2, 2, 2), sequence(5, 1, -3), sequence(1, 1, 5), sequence(DATE '2024-02-28', DATE '2024-03-01'), sequence(DATE '2024-01-31', DATE '2024-05-01', INTERVAL '1' MONTH), sequence(DATE '2024-03-01', DATE '2024-02-28', INTERVAL '-1' DAY), sequence(TIMESTAMP '2024-01-01 00:00:00', TIMESTAMP '2024-01-01 02:00:00', INTERVAL '1' HOUR), sequence(TIMESTAMP '2024-01-31 00:00:00', TIMESTAMP '2024-04-30 00:00:00', INTERVAL '1' MONTH);
-- edge: the other way
SELECT sequence(1, 5, -1);
-- edge: more than ten thousand
SELECT cardinality(sequence(1, 10001));
-- edge: just ten thousand
SELECT cardinality(sequence(1, 10000)), cardinality(repeat(1, 10000));
-- edge: more than ten thousand
SELECT repeat(1, 10001);
-- edge: fewer than none
SELECT repeat(1, -1);
-- edge: more than there are
SELECT trim_array(ARRAY[1], 2);
-- edge: fewer than none
SELECT trim_array(ARRAY[1], -1);
-- edge: the place 0
SELECT slice(ARRAY[1], 0, 1);
-- edge: the place 0
SELECT element_at(ARRAY[1], 0);
-- edge: grams of nothing
SELECT ngrams(ARRAY['a'], 0);
-- edge: more than five
SELECT combinations(ARRAY[1, 2, 3, 4, 5, 6, 7], 6);
-- edge: fewer than none
SELECT combinations(ARRAY[1], -1);
-- edge: more than a hundred thousand elements
SELECT cardinality(combinations(sequence(1, 60), 5));
-- edge: other types
SELECT array_union(ARRAY[1], ARRAY['a']);
-- edge: other types
SELECT array_intersect(ARRAY[1], ARRAY['a']);
-- edge: other types
SELECT array_except(ARRAY[1], ARRAY['a']);
-- edge: other types
SELECT arrays_overlap(ARRAY[1], ARRAY['a']);
-- edge: not arrays
SELECT flatten(ARRAY[1]);
-- edge: integers against decimals and doubles
SELECT array_union(ARRAY[1], ARRAY[1.5]), array_except(ARRAY[1, 2], ARRAY[1e0]), arrays_overlap(ARRAY[1], ARRAY[1.0]), contains(ARRAY[1, 2], 2.0), contains(ARRAY[1.5], 2), array_position(ARRAY[1e0, 2e0], 2), array_remove(ARRAY[1.0, 2.5], 1), contains_sequence(ARRAY[1.0, 2.0], ARRAY[2]), concat(ARRAY[1], ARRAY[2.5]);
SELECT transform(ARRAY[1, 2], x -> x * 2), filter(ARRAY[1, 2, 3], x -> x > 1), any_match(ARRAY[1, 2], x -> x > 1), all_match(ARRAY[1, 2], x -> x > 0), none_match(ARRAY[1, 2], x -> x > 2), reduce(ARRAY[1, 2, 3], 0, (s, x) -> s + x, s -> s), zip_with(ARRAY[1, 2], ARRAY[3, 4], (x, y) -> x + y);
SELECT transform(ARRAY[1, NULL], x -> x + 1), transform(CAST(NULL AS array(integer)), x -> x), filter(ARRAY[1, NULL], x -> x > 0), filter(ARRAY[1, NULL], x -> x IS NULL), any_match(ARRAY[1, NULL], x -> x > 1), all_match(ARRAY[1, NULL], x -> x > 0), none_match(ARRAY[1, NULL], x -> x > 1), reduce(ARRAY[1, NULL], 0, (s, x) -> s + x, s -> s), reduce(ARRAY[1, NULL], 0, (s, x) -> s + coalesce(x, 0), s -> s), zip_with(ARRAY[1, NULL], ARRAY[2, 3], (x, y) -> x + y), zip_with(NULL, ARRAY[1], (x, y) -> y);
-- edge: empty, and of another length
SELECT transform(ARRAY[], x -> 1), filter(ARRAY[], x -> TRUE), any_match(ARRAY[], x -> TRUE), all_match(ARRAY[], x -> FALSE), none_match(ARRAY[], x -> TRUE), reduce(CAST(ARRAY[] AS array(integer)), 7, (s, x) -> s + x, s -> s * 2), zip_with(ARRAY[1], ARRAY['a', 'b'], (x, y) -> (x, y)), zip_with(CAST(ARRAY[] AS array(integer)), ARRAY[1], (x, y) -> x);
-- edge: lambdas in lambdas, and columns from outside
SELECT id, transform(a, x -> x + id), filter(a, x -> x > id), any_match(a, x -> x = id), all_match(a, x -> x < id), none_match(a, x -> x IS NULL), reduce(a, CAST(0 AS bigint), (s, x) -> s + coalesce(x, 0), s -> s + id), transform(tags, x -> upper(x)), transform(ARRAY[ARRAY[1, 2], ARRAY[3]], x -> transform(x, y -> y * cardinality(x))) FROM a.main.cell;
-- edge: an error for one element
SELECT transform(ARRAY[1, 0], x -> 1 / x);
-- edge: an error for one element
SELECT filter(ARRAY[1, 0], x -> 1 / x > 0);
-- edge: no condition
SELECT filter(ARRAY[1], x -> x);
-- edge: no condition
SELECT any_match(ARRAY[1], x -> x);
-- edge: a state of another type
SELECT reduce(ARRAY[1], 0, (s, x) -> 'a', s -> s);
-- edge: no lambda
SELECT transform(ARRAY[1], 1);
-- edge: two parameters
SELECT transform(ARRAY[1], (x, y) -> x);
-- edge: not an array
SELECT zip_with(1, ARRAY[1], (x, y) -> x);
SELECT map(ARRAY['a', 'b'], ARRAY[1, 2]), map_keys(map(ARRAY['a'], ARRAY[1])), map_values(map(ARRAY['a'], ARRAY[1])), map_entries(map(ARRAY['a'], ARRAY[1])), map_from_entries(ARRAY[('a', 1)]), multimap_from_entries(ARRAY[('a', 1), ('a', 2)]), map_concat(map(ARRAY['a'], ARRAY[1]), map(ARRAY['b'], ARRAY[2])), map_filter(map(ARRAY['a', 'b'], ARRAY[1, 2]), (k, v) -> v > 1), transform_keys(map(ARRAY['a'], ARRAY[1]), (k, v) -> k || '!'), transform_values(map(ARRAY['a'], ARRAY[1]), (k, v) -> v + 1), map_zip_with(map(ARRAY['a'], ARRAY[1]), map(ARRAY['a'], ARRAY[2]), (k, v, w) -> v + w), element_at(map(ARRAY['a'], ARRAY[1]), 'a'), cardinality(map(ARRAY['a'], ARRAY[1]));
SELECT map(NULL, NULL), map(ARRAY['a'], ARRAY[NULL]), map_keys(CAST(NULL AS map(varchar, integer))), map_values(NULL), map_values(map(ARRAY['a'], ARRAY[NULL])), map_entries(CAST(NULL AS map(varchar, integer))), map_from_entries(CAST(NULL AS array(row(varchar, integer)))), map_from_entries(ARRAY[('a', NULL)]), multimap_from_entries(ARRAY[('a', NULL)]), map_concat(NULL, map(ARRAY['b'], ARRAY[2])), map_filter(CAST(NULL AS map(varchar, integer)), (k, v) -> TRUE), map_filter(map(ARRAY['a'], ARRAY[NULL]), (k, v) -> v > 1), transform_keys(CAST(NULL AS map(varchar, integer)), (k, v) -> k), transform_values(map(ARRAY['a'], ARRAY[NULL]), (k, v) -> v IS NULL), map_zip_with(CAST(NULL AS map(varchar, integer)), map(ARRAY['a'], ARRAY[2]), (k, v, w) -> 1), element_at(CAST(NULL AS map(varchar, integer)), 'a');
-- edge: empty
SELECT map(), map(ARRAY[], ARRAY[]), map_keys(map()), map_values(map()), map_entries(map()), map_from_entries(CAST(ARRAY[] AS array(row(varchar, integer)))), multimap_from_entries(CAST(ARRAY[] AS array(row(varchar, integer)))), map_concat(map(), map()), map_filter(map(), (k, v) -> TRUE), transform_keys(CAST(map() AS map(varchar, integer)), (k, v) -> k), transform_values(CAST(map() AS map(varchar, integer)), (k, v) -> v), map_zip_with(CAST(map() AS map(varchar, integer)), map(ARRAY['a'], ARRAY[1]), (k, v, w) -> coalesce(v, w)), cardinality(map());
-- edge: keys of other types and keys that meet
SELECT map_concat(map(ARRAY['a'], ARRAY[1]), map(ARRAY['a'], ARRAY[2]), map(ARRAY['a', 'b'], ARRAY[3, 4])), map(ARRAY[DATE '2024-01-01'], ARRAY[1]), map(ARRAY[1.5], ARRAY[1]), map(ARRAY[ARRAY[1]], ARRAY[1]), element_at(map(ARRAY[1.5], ARRAY['x']), 1.5), element_at(map(ARRAY[ARRAY[1]], ARRAY['x']), ARRAY[1]), map_keys(map(ARRAY['é', '😀'], ARRAY[1, 2])), map_zip_with(map(ARRAY['a', 'b'], ARRAY[1, 2]), map(ARRAY['b', 'c'], ARRAY[3, 4]), (k, v, w) -> ROW(k, v, w)), map_entries(map(ARRAY[TRUE], ARRAY[ARRAY[1]])), map_concat(map(ARRAY[1], ARRAY[1]), map(ARRAY[1.5], ARRAY[2.5]));
-- edge: a key that is NULL
SELECT map(ARRAY[NULL, 'a'], ARRAY[1, 2]);
-- edge: arrays of another length
SELECT map(ARRAY['a'], ARRAY[1, 2]);
-- edge: a key twice
SELECT map_from_entries(ARRAY[('a', 1), ('a', 2)]);
-- edge: a key that is NULL
SELECT map_from_entries(ARRAY[(CAST(NULL AS varchar), 1)]);
-- edge: an entry that is NULL
SELECT map_from_entries(ARRAY[('a', 1), NULL]);
-- edge: a key that is NULL
SELECT multimap_from_entries(ARRAY[(CAST(NULL AS varchar), 1)]);
-- edge: keys that meet
SELECT transform_keys(map(ARRAY['a', 'b'], ARRAY[1, 2]), (k, v) -> 'x');
-- edge: a key that is NULL
SELECT transform_keys(map(ARRAY['a'], ARRAY[1]), (k, v) -> NULL);
-- edge: no condition
SELECT map_filter(map(ARRAY['a'], ARRAY[1]), (k, v) -> v);
-- edge: one parameter
SELECT transform_values(map(ARRAY['a'], ARRAY[1]), x -> x);
-- edge: keys of other types
SELECT map_zip_with(map(ARRAY['a'], ARRAY[1]), map(ARRAY[1], ARRAY[1]), (k, v, w) -> 1);
-- edge: not a map
SELECT map_keys(ARRAY[1]);
-- edge: not a map
SELECT map_values('a');
-- edge: not a map
SELECT map_entries(1);
-- edge: other types
SELECT map_concat(map(ARRAY['a'], ARRAY[1]), map(ARRAY[1], ARRAY['a']));
-- edge: a key of another type
SELECT element_at(map(ARRAY['a'], ARRAY[1]), 1);
-- edge: of one
SELECT concat(ARRAY[1]);
-- edge: of one
SELECT map_concat(MAP(ARRAY[1], ARRAY[2]));
SELECT reduce(ARRAY[BIGINT '1', 2], 0, (s, x) -> s + x, s -> s * 2), reduce(ARRAY['a', 'b'], '', (s, x) -> s || x, s -> s), reduce(ARRAY[1, 2], 0e0, (s, x) -> s + x, s -> s), combinations(ARRAY[1, 2, 3, 4], 2);
