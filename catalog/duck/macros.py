"""DuckDB macros that give Trino's meaning where DuckDB's own function has another.

Names begin with `tr_`; analysts never call them, the compiler writes them.
"""

from __future__ import annotations

__all__ = ["MACROS"]

MAX_TEXT = 16 * 1024 * 1024
MAX_LIST = 1_000_000
_TOO_LARGE = "error('atoll: value too large')"
_INT = "'[+-]?[0-9]+'"
_DECIMAL = r"'[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)'"
_DOUBLE = r"'[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|NaN|[+-]?Infinity'"
_DATE = r"'[+-]?[0-9]{4,}-[0-9]{1,2}-[0-9]{1,2}'"
_STAMP = r"'[+-]?[0-9]{4,}-[0-9]{1,2}-[0-9]{1,2}( [0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]+)?)?)?'"

MACROS: tuple[str, ...] = (
    # exact decimals: a decimal as a count of 10^-scale, m = 10^scale
    "tr_unscaled(x, m) AS CAST(trunc(x) AS HUGEINT) * m + CAST((x - trunc(x)) * m AS HUGEINT)",
    "tr_half_up(n, d) AS CASE WHEN d = 0 THEN CAST(error('atoll: division by zero') AS HUGEINT) ELSE"
    " CAST(sign(n) AS HUGEINT) * CAST(sign(d) AS HUGEINT) * (abs(n) // abs(d)"
    " + CASE WHEN abs(n) % abs(d) >= abs(d) - abs(n) % abs(d) THEN 1 ELSE 0 END) END",
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
    f"tr_concat(a, b) AS (CASE WHEN strlen(a) + strlen(b) > {MAX_TEXT} THEN {_TOO_LARGE} ELSE a END) || b",
    f"tr_append(a, b) AS (CASE WHEN len(a) + len(b) > {MAX_LIST} THEN {_TOO_LARGE} ELSE a END) || b",
    "tr_replace(s, a, b) AS replace(CASE WHEN strlen(s) + (strlen(s) // greatest(strlen(a), 1) + 1) * strlen(b)"
    f" > {MAX_TEXT} THEN {_TOO_LARGE} ELSE s END, a, b)",
    f"tr_regexp_replace(s, p, r) AS regexp_replace(CASE WHEN strlen(s) + (strlen(s) + 1) * strlen(r) > {MAX_TEXT}"
    f" THEN {_TOO_LARGE} ELSE s END, p, r, 'g')",
    f"tr_pad(n) AS CAST(CASE WHEN n > {MAX_TEXT // 16} THEN {_TOO_LARGE} ELSE n END AS INTEGER)",
    "tr_sequence(a, b, c) AS generate_series(CASE WHEN c = 0 OR abs(CAST(b AS HUGEINT) - a) // abs(c) >= 10000"
    f" THEN {_TOO_LARGE} ELSE a END, b, c)",
    # Days, as in Trino: whole ones, at most 10,000 steps.
    "tr_date_sequence(a, b, c) AS CAST(generate_series(CASE WHEN epoch(c) = 0 OR epoch(c) % 86400 <> 0 THEN"
    " error('atoll: invalid argument') WHEN abs(epoch(b) - epoch(a)) / abs(epoch(c)) >= 10000"
    f" THEN {_TOO_LARGE} ELSE a END, b, c) AS DATE[])",
    # text
    # nfc_normalize stops at a NUL character, so texts that hold one go through it in pieces.
    "tr_nfc(s) AS CASE WHEN contains(s, chr(0)) THEN list_aggregate(list_transform(string_split(s, chr(0)),"
    " lambda p: nfc_normalize(p)), 'string_agg', chr(0)) ELSE nfc_normalize(s) END",
    "tr_substr(s, a) AS CASE WHEN a > 0 THEN substr(s, a) WHEN a = 0 OR -a > length(s) THEN left(s, 0)"
    " ELSE substr(s, length(s) + a + 1) END",
    "tr_substr3(s, a, n) AS CASE WHEN n <= 0 THEN left(s, 0) WHEN a > 0 THEN substr(s, a, n)"
    " WHEN a = 0 OR -a > length(s) THEN left(s, 0) ELSE substr(s, length(s) + a + 1, n) END",
    "tr_split_part(s, d, i) AS CASE WHEN i < 1 THEN error('atoll: invalid argument') ELSE string_split(s, d)[i] END",
    "tr_regexp_extract(s, p, g) AS CASE WHEN regexp_matches(s, p) THEN regexp_extract(s, p, g) END",
    "tr_json_scalar(s, p) AS CASE WHEN s IS NULL OR NOT json_valid(s) THEN NULL"
    " WHEN json_type(s, p) IN ('OBJECT', 'ARRAY', 'NULL') THEN NULL ELSE json_extract_string(s, p) END",
    "tr_json_extract(s, p) AS CASE WHEN json_valid(s) THEN CAST(json_extract(s, p) AS VARCHAR) END",
    # casts from text: Trino's grammar decides, not DuckDB's
    f"tr_is_int(s) AS regexp_full_match(s, {_INT})",
    f"tr_is_decimal(s) AS regexp_full_match(s, {_DECIMAL})",
    f"tr_is_double(s) AS regexp_full_match(trim(s), {_DOUBLE})",
    f"tr_is_date(s) AS regexp_full_match(trim(s), {_DATE})",
    f"tr_is_stamp(s) AS regexp_full_match(trim(s), {_STAMP})",
    "tr_is_boolean(s) AS lower(s) IN ('t', 'true', '1', 'f', 'false', '0')",
    "tr_boolean(s) AS lower(s) IN ('t', 'true', '1')",
    # lists
    "tr_contains(a, x) AS CASE WHEN x IS NULL OR a IS NULL THEN NULL WHEN list_contains(a, x) THEN true"
    " WHEN len(a) > len(list_filter(a, lambda e: e IS NOT NULL)) THEN NULL ELSE false END",
)
