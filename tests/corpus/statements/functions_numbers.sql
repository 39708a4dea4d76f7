SELECT abs(-5), abs(2.5), abs(-1e0), abs(REAL '-1.5'), ceil(1.2), ceil(-1.2e0), ceiling(1.2), ceiling(7), floor(-1.2), floor(1.9e0);
SELECT abs(NULL), ceil(NULL), ceiling(CAST(NULL AS double)), floor(CAST(NULL AS decimal(5, 2))), round(NULL), truncate(CAST(NULL AS double)), sign(NULL);
-- edge: limits and signs of zero
SELECT abs(-9223372036854775807), abs(infinity()), abs(nan()), abs(-0e0), ceil(-0.5e0), ceiling(-0.5e0), floor(-0e0), round(-0.4e0), round(0.5e0), round(-2.5e0), truncate(-0.9e0), sign(-0e0), sign(nan()), sign(-infinity());
-- edge: the smallest bigint has no opposite
SELECT abs(-9223372036854775808);
-- edge: the smallest tinyint has no opposite
SELECT abs(CAST(-128 AS tinyint));
-- edge: not a number
SELECT ceil('1');
-- edge: not a number
SELECT ceiling(TRUE);
-- edge: digits before the point
SELECT round(12345, -2), round(-15, -1), round(12345.678, -2), round(12345.678e0, -2), truncate(12345.678, -2), truncate(99.99, 5), truncate(12345, -2), round(99.99, 5);
-- edge: digits after the point are for decimals alone
SELECT truncate(1.5e0, 1);
-- edge: beyond a bigint
SELECT round(BIGINT '9223372036854775807', -1);
-- edge: halves and signs of zero
SELECT round(-0e0), round(-0.04e0, 1), round(REAL '-0.04', 1), round(-0.4e0, 0), round(REAL '1.25', 1), round(-1.25e0, 1), round(nan(), 1), round(infinity(), 2), round(-15, -1), round(TINYINT '124', -1), round(55555, -10);
-- edge: no more digits than there are
SELECT floor(DECIMAL '-0.5'), ceil(DECIMAL '0.0000000000000000000000000000000000001'), round(1.005e0, 2), round(2.675e0, 2), round(1e300, 2), round(0.1e0, 400);
SELECT sqrt(16), sqrt(2e0), cbrt(27), cbrt(-8e0), exp(0), exp(1e0), ln(1), ln(2e0), log(2, 8), log(10, 100), log2(8), log2(10e0), log10(1000), log10(0.001e0), power(2, 10), power(2e0, 0.5e0), pow(2, 3), pow(9e0, 0.5e0);
SELECT sqrt(NULL), cbrt(NULL), exp(NULL), ln(NULL), log(NULL, 2), log(2, NULL), log2(NULL), log10(NULL), power(NULL, 2), power(2, NULL), pow(NULL, 1), pow(1, NULL);
-- edge: outside of their range
SELECT sqrt(-1), sqrt(-0e0), sqrt(infinity()), cbrt(-0e0), cbrt(infinity()), exp(1000), exp(-1000), exp(nan()), ln(0), ln(-1), log2(0), log2(-1), log10(0), log10(-1), log10(infinity());
-- edge: powers of zero and infinity
SELECT power(0, 0), power(0, -1), power(-8, 1e0 / 3), power(nan(), 0), power(1, nan()), power(1, infinity()), power(-1, infinity()), power(-2, 3), pow(0, 0), pow(-0e0, -1), pow(10, 400), pow(2, -1074), log(1, 2), log(0, 2), log(2, 0), log(-2, 4);
-- edge: not a number
SELECT sqrt('4');
-- edge: not a number
SELECT exp(DATE '2020-01-01');
-- edge: too few arguments
SELECT log(2);
SELECT sin(0), sin(1e0), cos(0), cos(1e0), tan(0), tan(1e0), asin(1), asin(0.5e0), acos(1), acos(0.5e0), atan(1), atan(0.5e0), atan2(1, 1), atan2(-1e0, 2e0), sinh(1), cosh(1), tanh(1), degrees(pi()), degrees(1), radians(180), radians(1e0);
SELECT sin(NULL), cos(NULL), tan(NULL), asin(NULL), acos(NULL), atan(NULL), atan2(NULL, 1), atan2(1, NULL), sinh(NULL), cosh(NULL), tanh(NULL), degrees(NULL), radians(NULL);
-- edge: outside of their range
SELECT sin(infinity()), sin(-0e0), cos(infinity()), cos(nan()), tan(infinity()), asin(2), asin(-1), acos(-1), acos(2), atan(infinity()), atan(-infinity()), sinh(1000), sinh(-0e0), cosh(1000), cosh(-infinity()), tanh(1000), tanh(-infinity()), degrees(infinity()), radians(-0e0);
-- edge: the quadrants
SELECT atan2(0, 0), atan2(-0e0, 1), atan2(0, -1), atan2(-0e0, -1), atan2(1, 0), atan2(-1, 0), atan2(infinity(), infinity()), atan2(nan(), 1);
-- edge: not a number
SELECT sin('1');
SELECT pi(), e(), nan(), infinity(), is_nan(1e0), is_finite(1e0), is_infinite(1e0);
SELECT pi() + CAST(NULL AS double), e() / CAST(NULL AS double), nan() = CAST(NULL AS double), infinity() > CAST(NULL AS double), is_nan(NULL), is_finite(NULL), is_infinite(NULL);
-- edge: neither finite
SELECT nan() = nan(), nan() <> nan(), nan() < 1e0, nan() > 1e0, nan() IS NULL, nan() IS NOT DISTINCT FROM nan(), infinity() = infinity(), infinity() - infinity(), -infinity() < nan(), is_nan(nan()), is_nan(infinity()), is_finite(nan()), is_finite(-infinity()), is_infinite(-infinity()), is_infinite(nan()), is_nan(REAL 'NaN'), pi() * infinity(), e() - e();
SELECT mod(7, 3), mod(7.5, 2), mod(7e0, 2.5e0), greatest(1, 3, 2), greatest('a', 'b'), greatest(1, 2.5), least(1, 3, 2), least(DATE '2020-01-01', DATE '2019-12-31'), least(2e0, 1);
SELECT mod(NULL, 3), mod(3, NULL), mod(CAST(NULL AS double), 2), greatest(1, NULL, 3), least(NULL, 1), greatest(NULL, NULL), least(CAST(NULL AS varchar), 'a');
-- edge: signs and what is no number
SELECT mod(-7, 3), mod(7, -3), mod(-7.5, 2), mod(-7e0, 2.5e0), mod(5e0, 0), mod(infinity(), 2), mod(5e0, infinity()), mod(-9223372036854775807, 2), greatest(nan(), 1e0), least(nan(), 1e0), greatest(0e0, -0e0), least(infinity(), nan());
-- edge: zero
SELECT mod(5.5, 0.0);
-- edge: no common type
SELECT greatest(1, 'a');
-- edge: no common type
SELECT least(TRUE, 1);
-- edge: of one
SELECT greatest(1), least('x'), greatest(ARRAY[1, 2], ARRAY[1, 3]), least(ROW(1, 2), ROW(1, 1)), greatest(TRUE, FALSE), greatest(X'00', X'FF');
SELECT bitwise_and(19, 25), bitwise_or(19, 25), bitwise_xor(19, 25), bitwise_not(19), bitwise_left_shift(1, 2), bitwise_right_shift(8, 3), bitwise_right_shift_arithmetic(-8, 2), bit_count(9, 64), bit_count(7, 8);
SELECT bitwise_and(NULL, 1), bitwise_or(1, NULL), bitwise_xor(NULL, 1), bitwise_not(NULL), bitwise_left_shift(NULL, 1), bitwise_left_shift(1, NULL), bitwise_right_shift(NULL, 1), bitwise_right_shift_arithmetic(NULL, 1), bit_count(NULL, 64), bit_count(9, NULL);
-- edge: negative numbers and all the bits
SELECT bitwise_and(-1, 255), bitwise_or(-9223372036854775807, 1), bitwise_xor(-1, 9223372036854775807), bitwise_not(-1), bitwise_not(9223372036854775807), bitwise_left_shift(1, 63), bitwise_left_shift(1, 64), bitwise_left_shift(TINYINT '1', 7), bitwise_left_shift(SMALLINT '-1', 15), bitwise_right_shift(-8, 3), bitwise_right_shift(TINYINT '-1', 4), bitwise_right_shift(-1, 64), bitwise_right_shift_arithmetic(-1, 64), bitwise_right_shift_arithmetic(SMALLINT '-4', 1), bit_count(-1, 64), bit_count(-7, 8), bit_count(0, 2);
-- edge: more bits than there are
SELECT bit_count(300, 8);
-- edge: no such width
SELECT bit_count(1, 65);
-- edge: not an integer
SELECT bitwise_and(1.5, 1);
-- edge: not an integer
SELECT bitwise_or('a', 1);
-- edge: not an integer
SELECT bitwise_not(1e0);
-- edge: a negative shift
SELECT bitwise_left_shift(1, -1);
-- edge: a negative shift
SELECT bitwise_right_shift(1, -1);
-- edge: a negative shift
SELECT bitwise_right_shift_arithmetic(-8, -1);
SELECT width_bucket(5.5e0, 0e0, 10e0, 5), width_bucket(3, 1, 10, 3), width_bucket(2e0, ARRAY[1e0, 2e0, 3e0]), width_bucket(0.5e0, ARRAY[1, 2]);
SELECT width_bucket(NULL, 0e0, 10e0, 5), width_bucket(1e0, 0e0, NULL, 5), width_bucket(1e0, 0e0, 1e0, NULL), width_bucket(NULL, ARRAY[1e0]), width_bucket(1e0, CAST(NULL AS array(double)));
-- edge: outside, on the limits and downward
SELECT width_bucket(-1e0, 0e0, 10e0, 5), width_bucket(10e0, 0e0, 10e0, 5), width_bucket(0e0, 0e0, 10e0, 5), width_bucket(3e0, 10e0, 0e0, 5), width_bucket(infinity(), 0e0, 10e0, 5), width_bucket(infinity(), ARRAY[1e0, 2e0]);
-- edge: not a number
SELECT width_bucket(nan(), ARRAY[1e0, 2e0]);
-- edge: no bins
SELECT width_bucket(1e0, ARRAY[]);
-- edge: no buckets
SELECT width_bucket(1e0, 0e0, 10e0, 0);
-- edge: unsorted bins
SELECT width_bucket(1e0, ARRAY[3e0, 1e0]);
SELECT from_base('101', 2), from_base('ff', 16), from_base('-z', 36), to_base(255, 16), to_base(-5, 2), to_base(0, 10);
SELECT from_base(NULL, 2), from_base('1', NULL), to_base(NULL, 16), to_base(1, NULL);
-- edge: the limits of a bigint
SELECT from_base('9223372036854775807', 10), from_base('-8000000000000000', 16), from_base('+7', 8), from_base('ZZ', 36), to_base(9223372036854775807, 36), to_base(-9223372036854775808, 16), from_base('0', 2);
-- edge: one too many
SELECT from_base('9223372036854775808', 10);
-- edge: no digits
SELECT from_base('', 10);
-- edge: another digit
SELECT from_base('2', 2);
-- edge: no such base
SELECT from_base('1', 37);
-- edge: no such base
SELECT to_base(1, 1);
SELECT cosine_similarity(ARRAY[1e0, 2e0], ARRAY[2e0, 1e0]), cosine_distance(ARRAY[1e0, 2e0], ARRAY[2e0, 1e0]), euclidean_distance(ARRAY[1e0, 2e0], ARRAY[4e0, 6e0]), dot_product(ARRAY[1e0, 2e0], ARRAY[3e0, 4e0]);
SELECT cosine_similarity(NULL, ARRAY[1e0]), cosine_distance(ARRAY[1e0], NULL), euclidean_distance(NULL, ARRAY[1e0]), dot_product(ARRAY[1e0], NULL);
-- edge: nothing to multiply
SELECT dot_product(CAST(ARRAY[] AS array(double)), CAST(ARRAY[] AS array(double))), euclidean_distance(CAST(ARRAY[] AS array(double)), CAST(ARRAY[] AS array(double)));
-- edge: a NULL inside
SELECT dot_product(ARRAY[1e0, NULL], ARRAY[1e0, 2e0]);
-- edge: a NULL inside
SELECT cosine_similarity(ARRAY[1e0, NULL], ARRAY[1e0, 2e0]);
-- edge: a vector of length zero
SELECT cosine_similarity(ARRAY[0e0, 0e0], ARRAY[1e0, 2e0]);
-- edge: a vector of length zero
SELECT cosine_distance(ARRAY[0e0], ARRAY[1e0]);
-- edge: infinite vectors
SELECT euclidean_distance(ARRAY[infinity()], ARRAY[1e0]), dot_product(ARRAY[infinity()], ARRAY[0e0]), dot_product(ARRAY[nan()], ARRAY[1e0]);
-- edge: vectors of another length
SELECT euclidean_distance(ARRAY[1e0], ARRAY[1e0, 2e0]);
-- edge: vectors of another length
SELECT cosine_similarity(ARRAY[1e0], ARRAY[1e0, 2e0]);
-- edge: vectors of another length
SELECT cosine_distance(ARRAY[1e0], ARRAY[1e0, 2e0]);
SELECT wilson_interval_lower(1250, 1310, 1.96e0), wilson_interval_upper(1250, 1310, 1.96e0), wilson_interval_lower(5, 10, 1e0), wilson_interval_upper(5, 10, 1);
SELECT wilson_interval_lower(NULL, 10, 1e0), wilson_interval_lower(1, NULL, 1e0), wilson_interval_upper(1, 10, NULL);
-- edge: all, none and no doubt
SELECT wilson_interval_lower(0, 10, 1.96e0), wilson_interval_upper(0, 10, 1.96e0), wilson_interval_lower(10, 10, 1.96e0), wilson_interval_upper(10, 10, 1.96e0), wilson_interval_lower(3, 10, 0e0), wilson_interval_upper(3, 10, 0e0);
-- edge: no trials
SELECT wilson_interval_lower(0, 0, 1.96e0);
-- edge: more successes than trials
SELECT wilson_interval_upper(11, 10, 1.96e0);
-- edge: a negative z
SELECT wilson_interval_upper(1, 10, -1e0);
SELECT format_number(1234), format_number(1.5e6), human_readable_seconds(96), human_readable_seconds(3661.4e0), to_milliseconds(INTERVAL '1' DAY), to_milliseconds(INTERVAL '1.5' SECOND);
SELECT format_number(NULL), human_readable_seconds(NULL), to_milliseconds(NULL);
-- edge: limits, halves and zero
SELECT format_number(0), format_number(999.5e0), format_number(999999), format_number(1e15), format_number(-1000), format_number(0.001e0), format_number(9223372036854775807), human_readable_seconds(0), human_readable_seconds(0.5e0), human_readable_seconds(-61), human_readable_seconds(1e9), to_milliseconds(INTERVAL '-1' HOUR), to_milliseconds(INTERVAL '0' SECOND);
-- edge: no seconds
SELECT human_readable_seconds(nan());
-- edge: without end
SELECT human_readable_seconds(infinity());
-- edge: not a number
SELECT format_number(nan()), format_number(infinity());
-- edge: months have no length
SELECT to_milliseconds(INTERVAL '1' MONTH);
SELECT parse_data_size('2.5kB'), parse_data_size('1GB'), parse_presto_data_size('2.5kB'), parse_presto_data_size('1TB'), parse_duration('1.5h'), parse_duration('90s');
SELECT parse_data_size(NULL), parse_presto_data_size(NULL), parse_duration(NULL);
-- edge: the largest unit and parts of a byte
SELECT parse_data_size('1YB'), parse_data_size('0.1B'), parse_presto_data_size('1.9B'), parse_presto_data_size('0kB'), parse_duration('0ns'), parse_duration('999us'), parse_duration(' 1 ms '), parse_duration('365d');
-- edge: another unit
SELECT parse_data_size('1KB');
-- edge: no unit
SELECT parse_presto_data_size('1');
-- edge: empty
SELECT parse_data_size('');
-- edge: a negative length
SELECT parse_duration('-1s');
-- edge: another unit
SELECT parse_duration('1w');
SELECT great_circle_distance(36.12, -86.67, 33.94, -118.40), great_circle_distance(0, 0, 0, 1);
SELECT great_circle_distance(NULL, 0, 0, 1);
-- edge: antipodes and the same place
SELECT great_circle_distance(90, 0, -90, 0), great_circle_distance(10, 20, 10, 20), great_circle_distance(0, 0, 0, 180);
-- edge: beyond the pole
SELECT great_circle_distance(91, 0, 0, 0);
-- edge: beyond the last meridian
SELECT great_circle_distance(0, 181, 0, 0);
SELECT bitwise_and_agg(x), bitwise_or_agg(x), bitwise_xor_agg(x) FROM (VALUES 12, 10, 8) AS t(x);
SELECT bitwise_and_agg(x), bitwise_or_agg(x), bitwise_xor_agg(x) FROM (VALUES 12, NULL, 8) AS t(x);
-- edge: no rows
SELECT bitwise_and_agg(x), bitwise_or_agg(x), bitwise_xor_agg(x) FROM (VALUES 1) AS t(x) WHERE x > 1;
-- edge: the limits
SELECT bitwise_and_agg(x), bitwise_or_agg(x), bitwise_xor_agg(x) FROM (VALUES 9223372036854775807, -9223372036854775808) AS t(x);
-- edge: not an integer
SELECT bitwise_and_agg(x) FROM (VALUES 1.5) AS t(x);
-- edge: the last digit
SELECT x, asin(x), acos(x), atan(x), tanh(x), atan(y), atan2(x, y), atan2(y, x), log10(abs(y)), tanh(y / 10) FROM UNNEST(ARRAY[-0.095241e0, 0.119545e0, 0.848421e0, -0.0687e0, 0.015683e0, 0.17477e0, -0.630679e0, 0.023817e0, 0.259765e0, 0.585954e0, -0.811753e0, -0.393197e0, -0.818659e0, 0.619289e0, 0.386877e0, -0.916239e0, 0.964387e0, 0.929516e0, 0.307845e0, 0.231125e0, -0.685012e0, -0.969999e0, 0.056763e0, -0.880898e0], ARRAY[-12.39167e0, -10.32228e0, -18.7967e0, -1.44262e0, -2.37876e0, 13.69709e0, 0.76496e0, 5.61167e0, -0.00907e0, 6.49798e0, -1.7068e0, -8.87348e0, 19.90625e0, 19.82767e0, 13.60862e0, 8.31238e0, -7.38891e0, -10.81336e0, -8.4384e0, -17.19106e0, 10.65152e0, -3.98401e0, 13.86334e0, -4.53946e0]) AS t(x, y);
-- edge: the last digit
SELECT great_circle_distance(64.187, -103.062, -25.905, -59.503), great_circle_distance(39.731, 125.020, 48.554, 139.315), great_circle_distance(-44.799, 14.848, -72.724, -59.794), great_circle_distance(87.833, -74.829, 60.199, -146.137);
-- edge: halves that a double does not hold, and more than a bigint
SELECT format_number(1005000), format_number(1015000), format_number(99.95e0), format_number(1e20), human_readable_seconds(1e20), human_readable_seconds(2.5e0), human_readable_seconds(0.49e0);
-- edge: a point at either end
SELECT parse_data_size('.5GB'), parse_data_size('1.TB'), parse_presto_data_size('.5kB'), parse_presto_data_size('1.B');
-- edge: a point alone
SELECT parse_data_size('.B');
