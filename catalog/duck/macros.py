# ruff: noqa: E501 - one macro a line
"""DuckDB macros that give Trino's meaning where DuckDB's own function has another.

Names begin with `tr_`; analysts never call them, the compiler writes them.
"""

from __future__ import annotations

__all__ = ["BLANKS", "MACROS"]

MAX_TEXT = 16 * 1024 * 1024
MAX_LIST = 1_000_000
_TOO_LARGE = "tr_fail('INVALID_FUNCTION_ARGUMENT')"
# What doubles a value must stay volatile, which error() is: pure expressions of nested queries are merged into one, and
# forty doublings into one of 2^40 parts. So it may not stand in TRY (see `functions`).
_STOP = "error('atoll: error INVALID_FUNCTION_ARGUMENT')"
_INT = r"'[\x00-\x20]*[+-]?[0-9]+[\x00-\x20]*'"
_DECIMAL = r"'[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?'"
_DOUBLE = r"'[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?[dDfF]?|[+-]?NaN|[+-]?Infinity'"
_DATE = r"[+-]?[0-9]{4,}-[0-9]{1,2}-[0-9]{1,2}"
_CLOCK = r"([01]?[0-9]|2[0-3]):[0-5]?[0-9](:[0-5]?[0-9](\.[0-9]+)?)?"
_ZONED_STAMP = rf"'({_DATE}( ({_CLOCK})?)?)\s*([A-Za-z+-].*)?'"
BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2008\u2009\u200a"
    "\u2028\u2029\u205f\u3000"
)
"""What `trim` takes off: the blanks of Java, to which those that do not break a line do not belong."""

MACROS: tuple[str, ...] = (
    # An error by its name (see `engine.translate_error`): a cast that fails, because DuckDB's error() may not stand in TRY.
    "tr_fail(name) AS CAST(CAST('atoll: error ' || name AS INTEGER) AS VARCHAR)",
    # exact decimals, as counts of their smallest units: n / d rounded half away from zero. All division cuts off; the
    # rest reaches half of d, made up to a whole number, once or not at all.
    "tr_nearest(n, d) AS n // d + n % d // (d - d // 2)",
    "tr_half_up(n, d) AS CASE WHEN d <> 0 THEN tr_nearest(n, d)"
    " WHEN d = 0 AND n IS NOT NULL THEN CAST(tr_fail('DIVISION_BY_ZERO') AS HUGEINT) END",
    "tr_rest(n, d) AS CASE WHEN n IS NULL OR d IS NULL THEN NULL WHEN d = 0 THEN CAST(tr_fail('DIVISION_BY_ZERO') AS HUGEINT)"
    " ELSE n % d END",
    # The same for masks: a decimal as a count of 10^-scale, m = 10^scale, and back.
    "tr_unscaled(x, m) AS CAST(trunc(x) AS HUGEINT) * m + CAST((x - trunc(x)) * m AS HUGEINT)",
    "tr_scaled(u, m, one, unit) AS (u // m) * one + (u % m) * unit",
    # the grid of mask `geo`: coordinates in 10^-7 degree from their lower limit, NULL outside the limits
    "tr_geo_steps(x, top) AS CASE WHEN isfinite(x) AND x BETWEEN -top AND top"
    " THEN CAST(floor(x * CAST(10000000 AS DOUBLE)) AS BIGINT) + top * 10000000::BIGINT END",
    "tr_geo_exact_steps(x, top) AS CASE WHEN x BETWEEN -top AND top"
    " THEN CAST(floor(x * CAST(10000000 AS DECIMAL(8, 0))) AS BIGINT) + top * 10000000::BIGINT END",
    "tr_geo_lat(v, m) AS CASE WHEN v IS NOT NULL THEN least(v, 1799999999) // 10000000 * 10000000"
    " + (2 * (least(v, 1799999999) % 10000000 * m // 10000000) + 1) * 10000000 // (2 * m) END",
    "tr_geo_lon(v, w, n) AS CASE WHEN v IS NOT NULL THEN tr_geo_column(w % 3600000000,"
    " n[CASE WHEN v >= 900000000 THEN least(v, 1799999999) // 10000000 - 89 ELSE 90 - v // 10000000 END]) END",
    "tr_geo_column(w, n) AS (2 * (w * n // 3600000000) + 1) * 3600000000 // (2 * n)",
    # Growing functions are bounded before they allocate: DuckDB's memory_limit does not hold for scalars,
    # and no interrupt ends one long call. The guard stands inside the argument: a guard around the call
    # would come too late, because the optimiser folds a call of constants whichever branch it is in.
    f"tr_concat(a, b) AS (CASE WHEN strlen(a) + strlen(b) > {MAX_TEXT} THEN {_STOP} ELSE a END) || b",
    f"tr_append(a, b) AS a[1 : CASE WHEN len(a) + len(b) > {MAX_LIST} THEN CAST({_STOP} AS BIGINT) ELSE len(a) END] || b",
    "tr_one(x) AS CASE WHEN x IS NOT NULL THEN [x] END",
    "tr_codepoint(s) AS unicode(CASE WHEN length(s) <> 1 THEN tr_fail('INVALID_FUNCTION_ARGUMENT') ELSE s END)",
    "tr_replace(s, a, b) AS CASE WHEN a = '' AND s IS NOT NULL AND b IS NOT NULL THEN tr_between(s, b) ELSE"
    " replace(CASE WHEN strlen(s) + (strlen(s) // greatest(strlen(a), 1) + 1) * strlen(b)"
    f" > {MAX_TEXT} THEN {_STOP} ELSE s END, a, b) END",
    f"tr_regexp_replace(s, p, r) AS regexp_replace(CASE WHEN strlen(s) + (strlen(s) + 1) * strlen(r) > {MAX_TEXT}"
    f" THEN {_STOP} ELSE s END, p, r, 'g')",
    f"tr_pad(n) AS CAST(CASE WHEN n > {MAX_TEXT // 16} OR n < 0 THEN CAST({_TOO_LARGE} AS BIGINT) ELSE n END AS INTEGER)",
    "tr_sequence(a, b, c) AS generate_series(CASE WHEN c = 0 OR abs(CAST(b AS HUGEINT) - a) // abs(c) >= 10000 OR (c > 0 AND b < a) OR (c < 0 AND b > a)"
    f" THEN CAST({_TOO_LARGE} AS BIGINT) ELSE a END, b, c)",
    # Days, as in Trino: whole ones, at most 10,000 steps.
    "tr_date_sequence(a, b, c) AS CAST(generate_series(CASE WHEN epoch(c) = 0 OR epoch(c) % 86400 <> 0 THEN"
    " CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS DATE) WHEN abs(epoch(b) - epoch(a)) / abs(epoch(c)) >= 10000"
    f" THEN CAST({_TOO_LARGE} AS DATE) ELSE a END, b, c) AS DATE[])",
    # text
    # nfc_normalize stops at a NUL character, so texts that hold one go through it in pieces.
    "tr_nfc(s) AS CASE WHEN contains(s, chr(0)) THEN list_aggregate(list_transform(string_split(s, chr(0)),"
    " lambda p: nfc_normalize(p)), 'string_agg', chr(0)) ELSE nfc_normalize(s) END",
    "tr_substr(s, a) AS CASE WHEN a > 0 THEN substr(s, least(a, 2147483647)) WHEN a = 0 OR -(a + 1) >= length(s) THEN left(s, 0)"
    " ELSE substr(s, length(s) + a + 1) END",
    "tr_substr3(s, a, n) AS CASE WHEN a IS NULL OR n IS NULL THEN NULL WHEN n <= 0 THEN left(s, 0) WHEN a > 0 THEN"
    " substr(s, least(a, 2147483647), CASE WHEN n > 2147483647 THEN 2147483647 ELSE n END) WHEN a = 0 OR -(a + 1) >= length(s) THEN left(s, 0)"
    " ELSE substr(s, length(s) + a + 1, CASE WHEN n > 2147483647 THEN 2147483647 ELSE n END) END",
    "tr_filling(s, fill) AS CASE WHEN s IS NOT NULL AND fill = '' THEN tr_fail('INVALID_FUNCTION_ARGUMENT') ELSE fill END",
    "tr_split_part(s, d, i) AS CASE WHEN s IS NULL OR d IS NULL OR (s = '' AND d = '') THEN NULL WHEN i < 1 THEN tr_fail('INVALID_FUNCTION_ARGUMENT') ELSE string_split(s, d)[i] END",
    "tr_regexp_extract(s, p, g) AS CASE WHEN regexp_matches(s, p) THEN regexp_extract(s, p, g) END",
    # casts from text: Trino's grammar decides, not DuckDB's
    f"tr_is_int(s) AS regexp_full_match(s, {_INT})",
    f"tr_is_decimal(s) AS regexp_full_match(s, {_DECIMAL})",
    f"tr_is_double(s) AS regexp_full_match(trim(s), {_DOUBLE})",
    rf"tr_is_date(s) AS regexp_full_match(s, '\s*{_DATE}\s*')",
    rf"tr_is_stamp(s) AS regexp_full_match(s, '\s*{_DATE}( {_CLOCK}\s*)?')",
    f"tr_is_zoned_stamp(s) AS CASE WHEN regexp_full_match(trim(s, '{BLANKS}'), {_ZONED_STAMP})"
    f" THEN tr_is_zone(regexp_extract(trim(s, '{BLANKS}'), {_ZONED_STAMP}, 7)) ELSE false END",
    f"tr_unzoned(s) AS trim(regexp_extract(trim(s, '{BLANKS}'), {_ZONED_STAMP}, 1))",
    "tr_seventh(s) AS to_microseconds(CASE WHEN split_part(s, '.', 2)[7:7] >= '5' THEN 1 ELSE 0 END)",
    "tr_is_boolean(s) AS lower(s) IN ('t', 'true', '1', 'f', 'false', '0')",
    "tr_boolean(s) AS lower(s) IN ('t', 'true', '1')",
    f"tr_is_time(s) AS regexp_full_match(s, '{_CLOCK[:-5]}{{1,12}})?)?[ ]*')",
    "tr_is_uuid(s) AS regexp_full_match(s, '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}')",
    "tr_real(x) AS CASE WHEN abs(x) >= 3.4028235677973366e38 AND NOT isnan(x)"
    " THEN CAST(CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END AS FLOAT) ELSE CAST(x AS FLOAT) END",
    "tr_fitting(s, n) AS CASE WHEN length(s) > n THEN tr_fail('INVALID_CAST_ARGUMENT') ELSE s END",
    "tr_date_text(d) AS CAST(d AS VARCHAR)",
    "tr_stamp_text(t, n) AS substr(strftime(CAST(t AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%f'), 1, n)",
    # Clocks, as Trino turns them back: microseconds ahead of UTC at the moment that UTC shows as t; and the moment at
    # which a zone's clocks show t. Where they show it twice west of Greenwich that is the first time, east of it the
    # last; of a text the first; where they never show it, it is as if they had not been moved yet. Of a sum it is the
    # time at which they are as far ahead as before, if there is one (o). Of a day they are read at UTC's midnight.
    "tr_ahead(z, t) AS epoch_us(timezone(z, timezone('UTC', t))) - epoch_us(t)",
    "tr_chosen(z, t, a, b) AS CASE WHEN a < 0 AND tr_ahead(z, t - to_microseconds(b)) <> b THEN a ELSE b END",
    "tr_clock_time(z, t) AS list_transform([t], lambda c: timezone('UTC', c - to_microseconds("
    "tr_chosen(z, c, tr_ahead(z, c), tr_ahead(z, c - to_microseconds(tr_ahead(z, c)))))))[1]",
    "tr_beside(z, t, o) AS list_transform([t], lambda s: list_transform([o], lambda h:"
    " CASE WHEN tr_ahead(z, s - to_microseconds(h)) = h THEN timezone('UTC', s - to_microseconds(h))"
    " ELSE tr_clock_time(z, s) END)[1])[1]",
    "tr_first_time(z, t) AS list_transform([t], lambda f: tr_beside(z, f,"
    " greatest(tr_ahead(z, f - INTERVAL 1 DAY), tr_ahead(z, f + INTERVAL 1 DAY))))[1]",
    "tr_day_time(z, t) AS timezone('UTC', t - to_microseconds(tr_ahead(z, t)))",
    "tr_floor_to(n, u) AS n - ((n % u) + u) % u",
    "tr_round_stamp(t, u) AS make_timestamp(tr_floor_to(epoch_us(t) + u // 2, u))",
    "tr_round_moment(t, u) AS timezone('UTC', make_timestamp(tr_floor_to(epoch_us(t) + u // 2, u)))",
    "tr_round_time(t, u) AS TIME '00:00:00' + to_microseconds(tr_floor_to(epoch_us(t) + u // 2, u) % 86400000000)",
    "tr_shift_date(d, n) AS CASE WHEN d IS NULL THEN NULL WHEN n % 86400000 <> 0 THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS DATE)"
    " ELSE d + CAST(n // 86400000 AS INTEGER) END",
    *(
        f"tr_date_diff_{u}(a, b) AS CAST(date_sub('{u}', a, b) AS BIGINT)"
        for u in ("millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year")
    ),
    # lists
    "tr_map(k, v) AS CASE WHEN k IS NOT NULL AND v IS NOT NULL THEN map(k, v) END",
    "tr_chr(n) AS chr(CASE WHEN n < 0 OR n > 1114111 OR n BETWEEN 55296 AND 57343"
    " THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS INTEGER) ELSE CAST(n AS INTEGER) END)",
    f"tr_bytes(a, b) AS (CASE WHEN octet_length(a) + octet_length(b) > {MAX_TEXT} THEN encode(CAST({_STOP} AS VARCHAR)) ELSE a END) || b",
    "tr_ascii(s) AS CASE WHEN strlen(s) <> length(s) THEN tr_fail('NOT_SUPPORTED') ELSE s END",
    f"tr_fits(s, n) AS CASE WHEN n > {MAX_TEXT} THEN {_TOO_LARGE} ELSE s END",
    f"tr_hex(b) AS hex(CASE WHEN 2 * octet_length(b) > {MAX_TEXT} THEN encode({_TOO_LARGE}) ELSE b END)",
    "tr_joined(a, d) AS CASE WHEN a IS NOT NULL AND d IS NOT NULL THEN coalesce(array_to_string(a[1 : CASE WHEN"
    f" list_sum(list_transform(a, lambda w: strlen(w))) + len(a) * strlen(d) > {MAX_TEXT}"
    f" THEN CAST({_TOO_LARGE} AS BIGINT) ELSE len(a) END], d), '') END",
    "tr_joined_by(a, d) AS substr(tr_joined(list_transform(list_filter(a, lambda w: w IS NOT NULL), lambda w:"
    f" CASE WHEN len(a) * (strlen(d) + strlen(w)) > {MAX_TEXT} THEN {_TOO_LARGE} ELSE d || w END), ''), length(d) + 1)",
    "tr_divisor(i, x) AS CASE WHEN i IS NULL THEN NULL WHEN isnan(x) OR x = 0 THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS DOUBLE) ELSE x END",
    "tr_factor(i, x) AS CASE WHEN i IS NULL THEN NULL WHEN isnan(x) THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS DOUBLE) ELSE x END",
    # As Java makes a long of a double: the nearest where it is out of range.
    "tr_to_long(x) AS CASE WHEN x >= 9.223372036854775807e18 THEN 9223372036854775807 WHEN x <= -9.223372036854775808e18"
    " THEN -9223372036854775808 WHEN isnan(x) THEN 0 ELSE CAST(trunc(x) AS BIGINT) END",
    # Moments of the years 1 to 9999, which all that reads answers can tell.
    "tr_from_unixtime(x) AS CASE WHEN isnan(x) THEN to_timestamp(0) ELSE to_timestamp(CASE WHEN abs(x) >= 2251799813685.248"
    " THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS DOUBLE) WHEN x >= 253402300800 OR x < -62135596800"
    " THEN CAST(tr_fail('NOT_SUPPORTED') AS DOUBLE) ELSE floor(x * 1000 + 0.5) / 1000 END) END",
    "tr_iso_text(t, n) AS substr(strftime(CAST(t AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%f'), 1, n)",
    "tr_dates_by(a, b, n, months) AS CASE WHEN n = 0 OR abs(months) // abs(n) >= 10000 OR (n > 0 AND b < a) OR (n < 0"
    " AND b > a) THEN [CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS DATE)] ELSE list_transform("
    "range(0, months // n + 1), lambda i: CAST(a + to_months(CAST(i * n AS INTEGER)) AS DATE)) END",
    "tr_stamps_by(a, b, n) AS CASE WHEN n = 0 OR abs(epoch_us(b) - epoch_us(a)) // abs(n * 1000) >= 10000 OR (n > 0"
    " AND b < a) OR (n < 0 AND b > a) THEN [CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS TIMESTAMP)] ELSE"
    " list_transform(range(0, (epoch_us(b) - epoch_us(a)) // (n * 1000) + 1), lambda i: a + to_milliseconds(i * n)) END",
    "tr_regexp_position(s, p, a, n) AS CASE WHEN s IS NULL OR p IS NULL OR a IS NULL OR n IS NULL THEN NULL"
    " WHEN a < 1 OR n < 1 THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS BIGINT)"
    " WHEN len(regexp_extract_all(substr(s, a), p)) < n THEN -1 ELSE a + length(array_to_string(list_transform("
    "range(1, n + 1), lambda i: regexp_split_to_array(substr(s, a), p)[i]), '')) + length(array_to_string("
    "regexp_extract_all(substr(s, a), p)[1 : n - 1], '')) END",
    # DuckDB passes over blanks that a format has not
    r"tr_parsed(s, f) AS CASE WHEN s IS NOT NULL AND (try_strptime(s, f) IS NULL OR"
    r" (regexp_matches(s, '^\s|\s\s|\s$') AND NOT regexp_matches(f, '^\s|\s\s|\s$')))"
    " THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS TIMESTAMP)"
    " ELSE CAST(date_trunc('millisecond', try_strptime(s, f)) AS TIMESTAMP) END",
    "tr_pivoted(t) AS list_transform([t], lambda v: CASE WHEN year(v) = 1969 THEN v + to_years(100) ELSE v END)[1]",
    "tr_element(a, i) AS list_extract(a, CASE WHEN i = 0 THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS BIGINT)"
    " ELSE i END)",
    "tr_subscript(a, i) AS list_extract(a, CASE WHEN i < 1 OR i > len(a)"
    " THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS BIGINT) ELSE i END)",
    "tr_at_key(m, k) AS list_extract(map_extract(m, k), CASE WHEN NOT map_contains(m, k)"
    " THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS BIGINT) ELSE 1 END)",
    "tr_distinct(a) AS list_filter(a, lambda e, i: i = CASE WHEN e IS NULL THEN"
    " list_position(list_transform(a, lambda x: x IS NULL), true) ELSE list_position(a, e) END)",
    "tr_has(a, e) AS CASE WHEN e IS NULL THEN len(a) > list_count(a) ELSE list_contains(a, e) END",
    "tr_union(a, b) AS CASE WHEN a IS NOT NULL AND b IS NOT NULL THEN tr_distinct(list_concat(a, b)) END",
    # In the order of the longer one. Both stand in a struct, so that they are written once.
    "tr_intersect(a, b) AS list_transform([{'a': a, 'b': b}], lambda v: CASE WHEN v['a'] IS NULL OR v['b'] IS NULL THEN NULL"
    " WHEN len(v['a']) < len(v['b']) THEN tr_common(v['b'], v['a']) ELSE tr_common(v['a'], v['b']) END)[1]",
    "tr_common(a, b) AS tr_distinct(list_filter(a, lambda e: tr_has(b, e)))",
    "tr_except(a, b) AS CASE WHEN len(b) = 0 THEN a WHEN b IS NOT NULL THEN tr_distinct(list_filter(a, lambda e: NOT tr_has(b, e))) END",
    "tr_remove(a, x) AS CASE WHEN x IS NOT NULL THEN list_filter(a, lambda e: e IS NULL OR e <> x) END",
    "tr_remove_float(a, x) AS CASE WHEN x IS NOT NULL THEN list_filter(a, lambda e: e IS NULL OR isnan(x) OR e <> x) END",
    "tr_overlap(a, b) AS CASE WHEN a IS NULL OR b IS NULL THEN NULL"
    " WHEN len(list_filter(a, lambda e: e IS NOT NULL AND list_contains(b, e))) > 0 THEN true"
    " WHEN len(a) > 0 AND len(b) > 0 AND (len(a) > list_count(a) OR len(b) > list_count(b)) THEN NULL ELSE false END",
    "tr_extreme(a, v) AS CASE WHEN len(a) > list_count(a) THEN NULL ELSE v END",
    "tr_slice(a, s, n) AS CASE WHEN a IS NULL OR s IS NULL OR n IS NULL THEN NULL"
    " WHEN s = 0 OR n < 0 THEN a[1 : CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS BIGINT)]"
    " WHEN n = 0 OR s > len(a) OR -s > len(a) THEN a[1:0]"
    " ELSE a[CASE WHEN s < 0 THEN len(a) + s + 1 ELSE s END"
    " : least(CASE WHEN s < 0 THEN len(a) + s + 1 ELSE s END + n - 1, len(a))] END",
    "tr_position(a, x) AS CAST(CASE WHEN x IS NULL OR a IS NULL THEN NULL ELSE coalesce(list_position(a, x), 0) END AS BIGINT)",
    "tr_trim_array(a, n) AS a[1 : CASE WHEN n < 0 OR n > len(a)"
    " THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS BIGINT) ELSE len(a) - n END]",
    "tr_position_float(a, x) AS CASE WHEN isnan(x) THEN CASE WHEN a IS NOT NULL THEN 0 END ELSE tr_position(a, x) END",
    f"tr_repeat(x, n) AS CASE WHEN n IS NOT NULL THEN list_transform(range(CASE WHEN n IS NULL THEN NULL WHEN n > 10000 THEN {_TOO_LARGE}::BIGINT"
    " WHEN n < 0 THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS BIGINT) ELSE n END), lambda i: x) END",
    "tr_reversed(a) AS list_reverse(a)",
    f"tr_ngrams(a, n) AS CASE WHEN n < 1 OR len(a) * n > 100000 THEN [a[1:CAST({_TOO_LARGE} AS BIGINT)]]"
    " WHEN len(a) <= n THEN [a] ELSE list_transform(range(1, len(a) - n + 2), lambda i: a[i : i + n - 1]) END",
    "tr_contains_sequence(a, b) AS CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN len(b) = 0 THEN true"
    f" WHEN len(a) * len(b) > 1000000 THEN CAST({_TOO_LARGE} AS BOOLEAN) ELSE len(list_filter("
    "range(1, len(a) - len(b) + 2), lambda i: a[i : i + len(b) - 1] IS NOT DISTINCT FROM b)) > 0 END",
    "tr_counts(a) AS tr_map(tr_distinct(list_filter(a, lambda e: e IS NOT NULL)),"
    " list_transform(tr_distinct(list_filter(a, lambda e: e IS NOT NULL)),"
    " lambda e: CAST(len(list_filter(a, lambda x: x = e)) AS BIGINT)))",
    "tr_same_size(a, b) AS CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN len(a) <> len(b) THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS BOOLEAN) ELSE true END",
    "tr_dot(a, b) AS CASE WHEN a IS NOT NULL AND b IS NOT NULL AND tr_same_size(a, b) THEN list_reduce(list_transform(list_zip(a, b), lambda p:"
    " coalesce(p[1], 0) * coalesce(p[2], 0)), lambda x, y: x + y, CAST(0 AS DOUBLE)) END",
    "tr_norm(a) AS sqrt(list_reduce(list_transform(a, lambda e: e * e), lambda x, y: x + y, CAST(0 AS DOUBLE)))",
    "tr_euclid(a, b) AS CASE WHEN a IS NOT NULL AND b IS NOT NULL AND tr_same_size(a, b) THEN sqrt(list_reduce(list_transform(list_zip(a, b), lambda p:"
    " (coalesce(p[1], 0) - coalesce(p[2], 0)) * (coalesce(p[1], 0) - coalesce(p[2], 0))), lambda x, y: x + y, CAST(0 AS DOUBLE))) END",
    "tr_cosine(a, b) AS CASE WHEN len(a) > list_count(a) OR len(b) > list_count(b) THEN NULL"
    " WHEN a IS NOT NULL AND b IS NOT NULL THEN tr_dot(a, b) / CASE WHEN tr_dot(a, a) = 0 OR tr_dot(b, b) = 0"
    " THEN CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS DOUBLE) ELSE sqrt(tr_dot(a, a) * tr_dot(b, b)) END END",
    "tr_cosine_distance(a, b) AS 1 - tr_cosine(a, b)",
    "tr_map_concat(a, b) AS map_concat(a, b)",
    "tr_no_nan(x, n) AS CASE WHEN n >= 2 AND NOT isnan(x) THEN x END",
    # What is aggregated stands outside of lambdas: DuckDB takes columns in one for such that are not grouped.
    "tr_first_of(e) AS list_transform([e], lambda w: map_from_entries(list_transform(list_filter(w, lambda p, i:"
    " list_position(list_transform(w, lambda q: q['field0']), p['field0']) = i), lambda p: {'k': p['field0'], 'v': p['field1']})))[1]",
    "tr_skewness(n, mean, m2, a) AS CASE WHEN n < 3 THEN NULL ELSE"
    " sqrt(CAST(n AS DOUBLE)) * tr_moment(mean, a, 3) / power(m2 * n, 1.5) END",
    "tr_moment(mean, a, n) AS list_transform([{'m': mean, 'a': a}], lambda w: list_sum(list_transform(w['a'], lambda e:"
    " power(e - w['m'], n))))[1]",
    "tr_kurtosis(n, mean, m2, a) AS CASE WHEN n < 4 THEN NULL ELSE CAST(n AS DOUBLE) * (n + 1) / ((n - 1) * (n - 2)"
    " * (n - 3)) * tr_moment(mean, a, 4) / power(m2 * n / (n - 1), 2)"
    " - 3 * CAST(n - 1 AS DOUBLE) * (n - 1) / ((n - 2) * (n - 3)) END",
    "tr_multimap(e) AS list_transform([e], lambda w: map(tr_distinct(list_transform(w, lambda p: p['field0'])),"
    " list_transform(tr_distinct(list_transform(w, lambda p: p['field0'])), lambda k: list_transform(list_filter(w, lambda p:"
    " p['field0'] = k), lambda p: p['field1']))))[1]",
    "tr_max(a, b) AS CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN isnan(a) THEN b WHEN isnan(b) THEN a"
    " ELSE greatest(a, b) END",
    "tr_min(a, b) AS CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN isnan(a) THEN b WHEN isnan(b) THEN a"
    " ELSE least(a, b) END",
    "tr_is_number(x) AS NOT isnan(x)",
    "tr_sign_of(a, b) AS CASE WHEN a < b THEN -1 WHEN a > b THEN 1 WHEN a = b THEN 0 END",
    "tr_order(o) AS CASE WHEN o = 2 THEN CAST(tr_fail('NOT_SUPPORTED') AS INTEGER) ELSE o END",
    "tr_float_eq(a, b) AS CASE WHEN isnan(a) AND b IS NOT NULL OR isnan(b) AND a IS NOT NULL THEN false ELSE a = b END",
    "tr_float_lt(a, b) AS CASE WHEN isnan(a) AND b IS NOT NULL OR isnan(b) AND a IS NOT NULL THEN false ELSE a < b END",
    "tr_float_le(a, b) AS CASE WHEN isnan(a) AND b IS NOT NULL OR isnan(b) AND a IS NOT NULL THEN false ELSE a <= b END",
    "tr_sign(x) AS CASE WHEN isnan(x) OR x = 0 THEN x ELSE CAST(sign(x) AS DOUBLE) END",
    "tr_round(x) AS CASE WHEN isnan(x) THEN x WHEN x = 0 THEN 0 ELSE round(x) END",
    "tr_round_to(x, n) AS CASE WHEN isnan(x) THEN x WHEN x = 0 THEN 0 ELSE round(x, n) END",
    # Java's, for which 1 to the power of infinity is no number
    "tr_power(x, y) AS CASE WHEN isnan(y) OR (isinf(y) AND abs(x) = 1) THEN CAST('NaN' AS DOUBLE) ELSE power(x, y) END",
    # milliseconds and the microseconds beyond them, each divided by itself
    "tr_unixtime(t) AS CAST(tr_floor_to(epoch_us(t), 1000) // 1000 AS DOUBLE) / 1000"
    " + CAST(epoch_us(t) - tr_floor_to(epoch_us(t), 1000) AS DOUBLE) / 1000000",
    "tr_codepoint(s) AS unicode(CASE WHEN length(s) <> 1 THEN tr_fail('INVALID_FUNCTION_ARGUMENT') ELSE s END)",
    "tr_offset_text(m) AS CASE WHEN m = 0 THEN 'Z' ELSE CASE WHEN m < 0 THEN '-' ELSE '+' END"
    " || lpad(CAST(abs(m) // 60 AS VARCHAR), 2, '0') || ':' || lpad(CAST(abs(m) % 60 AS VARCHAR), 2, '0') END",
    "tr_stamps_by_months(a, b, n, months) AS CASE WHEN n = 0 OR abs(months) // abs(n) >= 10000 OR (n > 0 AND b < a)"
    " OR (n < 0 AND b > a) THEN [CAST(tr_fail('INVALID_FUNCTION_ARGUMENT') AS TIMESTAMP)] ELSE list_transform("
    "range(0, months // n + 1), lambda i: CAST(a + to_months(CAST(i * n AS INTEGER)) AS TIMESTAMP)) END",
    "tr_any_match(a) AS CASE WHEN a IS NULL THEN NULL WHEN list_contains(a, true) THEN true"
    " WHEN len(a) > list_count(a) THEN NULL ELSE false END",
    "tr_all_match(a) AS CASE WHEN a IS NULL THEN NULL WHEN list_contains(a, false) THEN false"
    " WHEN len(a) > list_count(a) THEN NULL ELSE true END",
    "tr_none_match(a) AS CASE WHEN a IS NULL THEN NULL WHEN list_contains(a, true) THEN false"
    " WHEN len(a) > list_count(a) THEN NULL ELSE true END",
    "tr_contains(a, x) AS CASE WHEN x IS NULL OR a IS NULL THEN NULL WHEN list_contains(a, x) THEN true"
    " WHEN len(a) > len(list_filter(a, lambda e: e IS NOT NULL)) THEN NULL ELSE false END",
)
