SELECT x, row_number() OVER (ORDER BY x), rank() OVER (ORDER BY x), dense_rank() OVER (ORDER BY x), percent_rank() OVER (ORDER BY x), cume_dist() OVER (ORDER BY x), ntile(2) OVER (ORDER BY x), lag(x) OVER (ORDER BY x), lead(x) OVER (ORDER BY x), first_value(x) OVER (ORDER BY x), last_value(x) OVER (ORDER BY x), nth_value(x, 2) OVER (ORDER BY x) FROM (VALUES 1, 2, 4) AS t(x);
SELECT x, rank() OVER (ORDER BY x), dense_rank() OVER (ORDER BY x), percent_rank() OVER (ORDER BY x), cume_dist() OVER (ORDER BY x), lag(x) OVER (ORDER BY x), lead(x, 1, 9) OVER (ORDER BY x), first_value(x) OVER (ORDER BY x), last_value(x) OVER (ORDER BY x), nth_value(x, 3) OVER (ORDER BY x) FROM (VALUES 1, NULL, 2, NULL) AS t(x);
SELECT x, row_number() OVER (PARTITION BY x) IN (1, 2), ntile(3) OVER (ORDER BY x NULLS FIRST) FROM (VALUES 1, NULL, 2) AS t(x);
-- edge: all alike
SELECT x, rank() OVER (ORDER BY x), dense_rank() OVER (ORDER BY x), percent_rank() OVER (ORDER BY x), cume_dist() OVER (ORDER BY x), last_value(x) OVER (ORDER BY x), first_value(x) OVER (ORDER BY x) FROM (VALUES 1, 1, 1) AS t(x);
-- edge: one row
SELECT row_number() OVER (), rank() OVER (), dense_rank() OVER (), percent_rank() OVER (), cume_dist() OVER (), ntile(5) OVER (), lag(x) OVER (ORDER BY x), lead(x) OVER (ORDER BY x), lag(x, 0) OVER (ORDER BY x), first_value(x) OVER (), last_value(x) OVER (), nth_value(x, 1) OVER (), nth_value(x, 2) OVER () FROM (VALUES 7) AS t(x);
-- edge: more parts than rows, far offsets and empty frames
SELECT x, ntile(10) OVER (ORDER BY x), lag(x, 100, -1) OVER (ORDER BY x), lead(x, 2, 0) OVER (ORDER BY x), lag(x, 1, 1.5) OVER (ORDER BY x), first_value(x) OVER (ORDER BY x ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING), last_value(x) OVER (ORDER BY x ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), nth_value(x, 9) OVER (ORDER BY x ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING), row_number() OVER (ORDER BY x DESC), dense_rank() OVER (ORDER BY x DESC), sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM (VALUES 3, 1, 2) AS t(x);
-- edge: NULLs passed over
SELECT x, y, lag(y) IGNORE NULLS OVER (ORDER BY x), lead(y) IGNORE NULLS OVER (ORDER BY x), first_value(y) IGNORE NULLS OVER (ORDER BY x), last_value(y) IGNORE NULLS OVER (ORDER BY x), nth_value(y, 2) IGNORE NULLS OVER (ORDER BY x ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM (VALUES (1, NULL), (2, 'a'), (3, NULL), (4, 'b')) AS t(x, y);
-- edge: in no order
SELECT lag(x) OVER () FROM (VALUES 1) AS t(x);
-- edge: in no order
SELECT lead(x) OVER () FROM (VALUES 1) AS t(x);
-- edge: no parts
SELECT ntile(0) OVER () FROM (VALUES 1) AS t(x);
-- edge: a negative offset
SELECT lag(x, -1) OVER (ORDER BY x) FROM (VALUES 1, 2) AS t(x);
-- edge: a negative offset
SELECT lead(x, -1) OVER (ORDER BY x) FROM (VALUES 1, 2) AS t(x);
-- edge: the place 0
SELECT nth_value(x, 0) OVER () FROM (VALUES 1) AS t(x);
-- edge: without OVER
SELECT row_number() FROM (VALUES 1) AS t(x);
-- edge: without OVER
SELECT rank();
-- edge: without OVER
SELECT first_value(1);
-- edge: arguments
SELECT rank(1) OVER ();
-- edge: a default of another type
SELECT lag(x, 1, 'a') OVER (ORDER BY x) FROM (VALUES 1) AS t(x);
-- edge: a frame of values
SELECT x, count(*) OVER (ORDER BY x RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING), sum(x) OVER (ORDER BY x GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW), count(*) OVER (ORDER BY x RANGE BETWEEN 1.5 PRECEDING AND 0 FOLLOWING) FROM (VALUES 1, 2, 2, 4, NULL) AS t(x);
-- edge: a frame that ends before it starts
SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 FOLLOWING AND 1 PRECEDING) FROM (VALUES 1) AS t(x);
-- edge: a negative frame
SELECT sum(x) OVER (ORDER BY x ROWS -1 PRECEDING) FROM (VALUES 1) AS t(x);
