SELECT count(x), sum(x), avg(x), min(x), max(x), arbitrary(x) IN (1, 2), any_value(x) IN (1, 2), count_if(x > 1), bool_and(x > 0), bool_or(x > 1), every(x > 1), array_agg(x ORDER BY x), histogram(x), approx_distinct(x), approx_percentile(x, 0.5), geometric_mean(x), checksum(x) FROM (VALUES 1, 2, 2) AS t(x);
SELECT count(x), sum(x), avg(x), min(x), max(x), arbitrary(x), any_value(x), count_if(x > 1), bool_and(x > 0), bool_or(x > 1), every(x > 1), array_agg(x ORDER BY x), histogram(x), approx_distinct(x), approx_percentile(x, 0.5), geometric_mean(x), checksum(x) FROM (VALUES 2, NULL) AS t(x);
-- edge: no rows
SELECT count(x), sum(x), avg(x), min(x), max(x), arbitrary(x), any_value(x), count_if(x > 1), bool_and(x > 0), bool_or(x > 1), every(x > 1), array_agg(x ORDER BY x), histogram(x), approx_distinct(x), approx_percentile(x, 0.5), geometric_mean(x), checksum(x), stddev(x), variance(x), skewness(x), kurtosis(x), max_by(x, x), min_by(x, x), map_agg(x, x), multimap_agg(x, x) FROM (VALUES 1) AS t(x) WHERE x > 1;
-- edge: nothing but NULL
SELECT count(x), sum(x), avg(x), min(x), max(x), arbitrary(x), any_value(x), array_agg(x), histogram(x), approx_distinct(x), approx_percentile(x, 0.5), geometric_mean(x), checksum(x), max_by(x, x), min_by(x, x), map_agg(x, x), multimap_agg(x, x), listagg(CAST(x AS varchar), ',') WITHIN GROUP (ORDER BY x) FROM (VALUES CAST(NULL AS integer), NULL) AS t(x);
-- refused: arrays compare in atoll, and have no extremes
SELECT min(x), max(x) FROM (VALUES ARRAY[1], ARRAY[1, 2]) AS t(x);
-- edge: limits of a bigint
SELECT count(x), avg(x), min(x), max(x), arbitrary(x) IS NULL, approx_percentile(x, 0e0), approx_percentile(x, 1e0), histogram(x), checksum(x), approx_distinct(x), array_agg(x ORDER BY x DESC) FROM (VALUES 9223372036854775807, -9223372036854775808) AS t(x);
-- edge: beyond a bigint
SELECT sum(x) FROM (VALUES 9223372036854775807, 1) AS t(x);
-- edge: beyond a decimal
SELECT sum(x) FROM (VALUES DECIMAL '99999999999999999999999999999999999999', DECIMAL '1') AS t(x);
-- edge: not numbers
SELECT sum(x), avg(x), min(x), max(x), count(x), histogram(x), stddev(x), geometric_mean(x), approx_distinct(x), max_by(x, x), min_by(x, x), array_agg(x ORDER BY x), checksum(x) FROM (VALUES nan(), 1e0, infinity()) AS t(x);
-- edge: signs of zero
SELECT sum(x), avg(x), count(DISTINCT x), approx_distinct(x), checksum(x), histogram(x) FROM (VALUES 0e0, -0e0) AS t(x);
-- edge: not a number
SELECT avg('a');
-- edge: not a number
SELECT geometric_mean('a');
-- edge: not a condition
SELECT count_if(1);
-- edge: not a condition
SELECT bool_and(1);
-- edge: not a condition
SELECT bool_or('a');
-- edge: not a condition
SELECT every(1);
-- edge: cannot be ordered
SELECT min(x) FROM (VALUES MAP(ARRAY[1], ARRAY[2])) AS t(x);
-- edge: cannot be ordered
SELECT max(x) FROM (VALUES MAP(ARRAY[1], ARRAY[2])) AS t(x);
-- edge: too few
SELECT min(x, 0) FROM (VALUES 1) AS t(x);
-- edge: no percentage
SELECT approx_percentile(x, 1.5) FROM (VALUES 1) AS t(x);
-- edge: decimals, texts beyond ASCII, dates, arrays and rows
SELECT min(s), max(s), min(d), max(d), min(n), max(n), count(DISTINCT s), array_agg(s ORDER BY s), histogram(s), approx_distinct(s), arbitrary(d) IS NULL, any_value(n) IS NULL, checksum(s), checksum(d), checksum(n), count(a), max_by(s, n), min_by(d, s), map_agg(s, n), avg(n), sum(n) FROM (VALUES ('é', DATE '2024-02-29', 1.50, ARRAY[1]), ('😀', DATE '1969-12-31', -0.05, ARRAY[1, 2]), ('｡', DATE '9999-12-31', 0.00, ARRAY[])) AS t(s, d, n, a);
-- edge: halves and one row
SELECT avg(x), avg(DISTINCT x), approx_percentile(x, 0.5), approx_percentile(x, ARRAY[0.25, 0.75]), geometric_mean(x), bool_or(x IS NULL), every(x > 0), count_if(x IS NULL) FROM (VALUES 0.05, 0.10, 0.06) AS t(x);
SELECT checksum(b), checksum(i), checksum(si), checksum(ti), checksum(f), checksum(r), checksum(s), checksum(v), checksum(n), checksum(w), checksum(d), checksum(ts), checksum(t6), checksum(ok), checksum(bin) FROM a.main.cell;
SELECT id, checksum(b), checksum(i), checksum(f), checksum(r), checksum(s), checksum(n), checksum(w), checksum(d), checksum(ts), checksum(t6), checksum(ok), checksum(bin) FROM a.main.cell GROUP BY id;
-- refused: of numbers, moments, texts and bytes alone
SELECT checksum(a), checksum(tags), checksum(ROW(i, s)) FROM a.main.cell;
SELECT stddev(x), stddev_samp(x), stddev_pop(x), variance(x), var_samp(x), var_pop(x), round(skewness(x), 12), round(kurtosis(x), 12), round(corr(x, y), 12), round(covar_pop(x, y), 12), round(covar_samp(x, y), 12), round(regr_slope(x, y), 12), round(regr_intercept(x, y), 12) FROM (VALUES (1e0, 2e0), (2e0, 4e0), (4e0, 5e0), (8e0, 1e0)) AS t(x, y);
SELECT stddev(x), stddev_samp(x), stddev_pop(x), variance(x), var_samp(x), var_pop(x), round(skewness(x), 12), round(kurtosis(x), 12), round(corr(x, y), 12), round(covar_pop(x, y), 12), round(covar_samp(x, y), 12), round(regr_slope(x, y), 12), round(regr_intercept(x, y), 12) FROM (VALUES (1e0, 2e0), (2e0, NULL), (NULL, 5e0), (8e0, 1e0), (3e0, 3e0), (4e0, 1e0)) AS t(x, y);
-- edge: one row
SELECT stddev(x), stddev_samp(x), stddev_pop(x), variance(x), var_samp(x), var_pop(x), skewness(x), kurtosis(x), corr(x, y), covar_pop(x, y), covar_samp(x, y), regr_slope(x, y), regr_intercept(x, y) FROM (VALUES (1e0, 2e0)) AS t(x, y);
-- edge: all alike
SELECT stddev(x), stddev_samp(x), stddev_pop(x), variance(x), var_samp(x), var_pop(x), skewness(x), kurtosis(x), corr(x, y), covar_pop(x, y), covar_samp(x, y), regr_slope(x, y), regr_intercept(x, y) FROM (VALUES (1e0, 2e0), (1e0, 2e0), (1e0, 2e0), (1e0, 2e0)) AS t(x, y);
-- edge: no rows
SELECT stddev_samp(x), stddev_pop(x), var_samp(x), var_pop(x), corr(x, y), covar_pop(x, y), covar_samp(x, y), regr_slope(x, y), regr_intercept(x, y) FROM (VALUES (1e0, 2e0)) AS t(x, y) WHERE x > 1;
-- edge: not a number
SELECT stddev('a');
-- edge: not numbers
SELECT corr('a', 'b');
SELECT max_by(x, y), min_by(x, y), max_by(x, y, 2), min_by(x, y, 2), map_agg(x, y), multimap_agg(z, x), map_union(MAP(ARRAY[x], ARRAY[y])), listagg(x, '-') WITHIN GROUP (ORDER BY y) FROM (VALUES ('a', 1, 'u'), ('b', 3, 'v'), ('c', 2, 'u')) AS t(x, y, z);
SELECT max_by(x, y), min_by(x, y), max_by(x, y, 2), min_by(x, y, 2), map_agg(x, y), map_union(MAP(ARRAY[1], ARRAY[y])), map_union(CAST(NULL AS map(varchar, integer))), listagg(x, '-') WITHIN GROUP (ORDER BY y) FROM (VALUES ('a', 1), (NULL, 3), ('c', NULL)) AS t(x, y);
SELECT multimap_agg(x, y) FROM (VALUES ('a', 1), ('a', NULL), (NULL, 2)) AS t(x, y);
-- edge: a key twice, and no pairs
SELECT map_agg(x, y) FILTER (WHERE y > 5), multimap_agg(x, y) FILTER (WHERE y > 5), map_union(MAP(ARRAY[x], ARRAY[y])) FILTER (WHERE y > 5), listagg(x, '-') WITHIN GROUP (ORDER BY y) FILTER (WHERE y > 5), max_by(x, y) FILTER (WHERE y > 5), histogram(x) FILTER (WHERE y > 5), cardinality(map_agg(x, y)), cardinality(multimap_agg(x, y)), cardinality(map_union(MAP(ARRAY[x], ARRAY[y]))) FROM (VALUES ('a', 1), ('a', 2)) AS t(x, y);
-- edge: a key that is a map
SELECT cardinality(map_agg(MAP(ARRAY[1], ARRAY[2]), 1)), cardinality(multimap_agg(ARRAY[1], 1)), cardinality(map_union(MAP()));
-- edge: empty texts and a separator beyond ASCII
SELECT listagg(x, '、') WITHIN GROUP (ORDER BY x), listagg(x, '') WITHIN GROUP (ORDER BY x DESC), listagg(DISTINCT x, '-') WITHIN GROUP (ORDER BY x) FROM (VALUES '', 'é', '') AS t(x);
-- edge: not texts
SELECT listagg(x, '-') WITHIN GROUP (ORDER BY x) FROM (VALUES 1) AS t(x);
-- edge: without an order
SELECT listagg(x, '-') FROM (VALUES 'a') AS t(x);
-- edge: fewer than one
SELECT max_by(x, x, 0) FROM (VALUES 1) AS t(x);
-- edge: fewer than one
SELECT min_by(x, x, -1) FROM (VALUES 1) AS t(x);
-- edge: cannot be ordered
SELECT max_by(1, MAP(ARRAY[1], ARRAY[1]));
-- edge: not a map
SELECT map_union(1);
SELECT sum(x), avg(x), min(x), max(x) FROM (VALUES INTERVAL '1' DAY, INTERVAL '2' DAY, NULL) AS t(x);
SELECT reduce_agg(x, 0, (s, y) -> s + y, (s, t) -> s + t), reduce_agg(x, 1, (s, y) -> s * y, (s, t) -> s * t) FROM (VALUES 2, 3, 4) AS t(x);
SELECT reduce_agg(x, 0, (s, y) -> s + y, (s, t) -> s + t) FROM (VALUES 2, NULL, 4) AS t(x);
-- edge: no rows, groups and a state of another type
SELECT k, reduce_agg(x, 0, (s, y) -> s + y, (s, t) -> s + t) FILTER (WHERE x > 2), reduce_agg(x, 0e0, (s, y) -> s + y, (s, t) -> s + t), reduce_agg(x, FALSE, (s, y) -> s OR y > 2, (s, t) -> s OR t) FROM (VALUES ('a', 1), ('a', 3), ('b', 2)) AS v(k, x) GROUP BY k;
-- edge: a state that is a text
SELECT reduce_agg(x, '', (s, y) -> s || y, (s, t) -> s || t) FROM (VALUES 'a', 'b') AS t(x);
-- edge: a step of another type
SELECT reduce_agg(x, 0, (s, y) -> 'a', (s, t) -> s + t) FROM (VALUES 1) AS t(x);
SELECT approx_percentile(x, 0.5), approx_percentile(x, 1), approx_percentile(x, 0.25e0), approx_percentile(x, ARRAY[0, 0.5, 1]), approx_percentile(x, ARRAY[0.1e0]), approx_percentile(y, 0.5) FROM (VALUES (1, 1.5), (2, 2.5), (3, 0.5)) AS t(x, y);
-- edge: no percentage
SELECT approx_percentile(x, ARRAY[0.5, 1.5]) FROM (VALUES 1) AS t(x);
-- refused: of a percentage that is written alone
SELECT approx_percentile(x, 0.5e0 + 0.1e0) FROM (VALUES 1) AS t(x);
-- refused: weights are not known
SELECT approx_percentile(x, 2, 0.5) FROM (VALUES 1) AS t(x);
-- edge: states of other types, groups of two tables, and a window
SELECT reduce_agg(x, DATE '2020-01-01', (s, y) -> s + INTERVAL '1' DAY, (s, t) -> s), reduce_agg(x, REAL '0.5', (s, y) -> s + y, (s, t) -> s + t), reduce_agg(x, X'00', (s, y) -> s || X'01', (s, t) -> s || t), reduce_agg(x, CAST(NULL AS integer), (s, y) -> coalesce(s, 0) + y, (s, t) -> s + t) FROM (VALUES 1, 3) AS t(x);
SELECT c.s, reduce_agg(v.qty, 1, (s, x) -> s * x, (s, t) -> s * t), checksum(v.qty) FROM a.main.cell AS c JOIN b.main.sale AS v ON v.cell = c.id GROUP BY c.s;
SELECT x, reduce_agg(x, 0, (s, y) -> s + y, (s, t) -> s + t) OVER (ORDER BY x), checksum(x) OVER (ORDER BY x) FROM (VALUES 1, 2, 3) AS t(x);
-- edge: a state with parts
SELECT reduce_agg(x, ARRAY[0], (s, y) -> s || y, (s, t) -> s || t) FROM (VALUES 1, 3) AS t(x);
-- edge: a state of more than 18 digits
SELECT reduce_agg(amount, CAST(0 AS decimal(38, 2)), (s, x) -> CAST(s + x AS decimal(38, 2)), (s, t) -> s) FROM b.main.sale;
-- refused: lambdas in HAVING; compute it in a query below
SELECT kind, reduce_agg(qty, 0, (s, x) -> s + x, (s, t) -> s + t) AS n FROM b.main.sale GROUP BY kind HAVING reduce_agg(qty, 0, (s, x) -> s + x, (s, t) -> s + t) > 2;
