# ruff: noqa: E501 - tables of expressions
"""What the generator writes: expressions by kind, and the shapes of queries.

A template's `{kind}` is filled with an expression of that kind. `{kind|@1:int}` may also use the lambda parameter `@1`,
which is an int; each call of a lambda gets names of its own for `@1`, `@2` and `@3`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

__all__ = ["AGGREGATES", "CALLS", "CELL_LEAVES", "KINDS", "ORDERED", "Leaves", "Maker", "Node"]

Leaves = Mapping[str, Sequence[str]]

CONSTANTS: dict[str, list[str]] = {
    "int": ["0", "1", "-7", "3", "100", "CAST(NULL AS integer)", "CAST(12 AS smallint)", "CAST(-1 AS tinyint)", "BIGINT '5000000000'", "NULL"],
    "small": ["0", "1", "2", "3", "-1", "-2", "CAST(NULL AS integer)"],
    "place": ["1", "2", "3", "-1", "-2", "CAST(NULL AS integer)", "BIGINT '1'"],
    "count": ["0", "1", "2", "3", "CAST(NULL AS integer)"],
    "digits": ["'12'", "'-7'", "'+003'", "'0'", "CAST(NULL AS varchar)"],
    "daytext": ["'2024-02-29'", "'1999-12-31'", "'2024-03-01'", "CAST(NULL AS varchar)"],
    "truths": ["'true'", "'f'", "'1'", "'FALSE'", "CAST(NULL AS varchar)"],
    "jsons": ["'{\"b\": 1, \"a\": [1, 2.0, \"é\"]}'", "'[null, true, {}]'", "' 12 '", "'\"x\"'"],
    "decimal": ["1.5", "-0.05", "100.00", "CAST(NULL AS decimal(5, 2))", "0.333", "DECIMAL '12345678901234567890.5'", "2.5", "-2.5", "0.00"],
    "double": ["1.5e0", "-0.25e0", "0e0", "1e10", "CAST(NULL AS double)", "nan()", "infinity()", "REAL '2.5'", "2.5e0", "1e-5"],
    "text": ["'abc'", "''", "'é中'", "' x '", "CAST(NULL AS varchar)", "'12'", "'a,b'", "'ABC'", "'-1.5'", "'a😀b'", "CAST('abc' AS varchar(5))", "'2024-02-29'"],
    "char": ["CAST('ab' AS char(4))", "CAST('' AS char(2))", "CAST(NULL AS char(3))", "CAST('é ' AS char(3))"],
    "bool": ["TRUE", "FALSE", "CAST(NULL AS boolean)"],
    "date": ["DATE '2024-02-29'", "DATE '2023-12-31'", "CAST(NULL AS date)", "DATE '1969-07-20'"],
    "stamp": ["TIMESTAMP '2024-02-29 12:34:56.789'", "CAST(NULL AS timestamp(3))", "TIMESTAMP '1969-12-31 23:59:59.999999'", "TIMESTAMP '2024-01-31 00:00:00'"],
    "zoned": ["TIMESTAMP '2024-03-31 01:30:00 UTC'", "TIMESTAMP '2024-03-10 02:15:00.123 UTC'", "from_unixtime(0)", "CAST(NULL AS timestamp(3) with time zone)"],
    "time": ["TIME '12:34:56'", "TIME '00:00:00.123'", "TIME '23:59:58.999999'", "CAST(NULL AS time(3))"],
    "days": ["INTERVAL '1' DAY", "INTERVAL '90' MINUTE", "INTERVAL -'36' HOUR", "INTERVAL '1 02:03:04.567' DAY TO SECOND", "INTERVAL '-0.5' SECOND"],
    "months": ["INTERVAL '1' MONTH", "INTERVAL '-13' MONTH", "INTERVAL '2' YEAR", "INTERVAL '1-2' YEAR TO MONTH"],
    "binary": ["X'00FF6162'", "X''", "CAST(NULL AS varbinary)", "to_utf8('é中')", "X'E4B8AD'"],
    "json": ["JSON '{\"b\": [1, 2.50, null], \"a\": \"é\"}'", "JSON '[1, \"x\", true]'", "JSON 'null'", "JSON '1.0'", "json_parse('{\"n\": {\"m\": 1e2}}')", "CAST(NULL AS json)"],
    "uuid": ["UUID '12151fd2-7586-11e9-8f9e-2a86e4085a59'", "CAST(NULL AS uuid)"],
    "ints": ["ARRAY[1, 2, NULL]", "ARRAY[3, 3, 1]", "CAST(NULL AS array(integer))", "ARRAY[]", "sequence(1, 4)", "ARRAY[BIGINT '7']"],
    "texts": ["ARRAY['x', 'y']", "ARRAY['é', NULL]", "split('a,b,,c', ',')", "ARRAY['b', 'a', 'b']"],
    "doubles": ["ARRAY[1.5e0, NULL, 0e0]", "ARRAY[nan(), 1e0]", "ARRAY[0.1e0, 0.2e0]"],
    "decimals": ["ARRAY[1.50, 2.005]", "ARRAY[NULL, -0.1]"],
    "dates": ["ARRAY[DATE '2024-02-29', NULL]", "sequence(DATE '2024-01-30', DATE '2024-02-02')"],
    "bools": ["ARRAY[TRUE, FALSE, NULL]", "ARRAY[TRUE]"],
    "nested": ["ARRAY[ARRAY[1, 2], ARRAY[]]", "ARRAY[ARRAY[1], NULL, ARRAY[NULL, 3]]"],
    "rows": ["ARRAY[ROW(1, 'a'), ROW(2, NULL)]", "CAST(ARRAY[ROW(1, 'b'), NULL] AS array(row(x integer, y varchar)))"],
    "row": ["ROW(1, 'a', NULL)", "CAST(ROW(1, 'b') AS row(x integer, y varchar))", "ROW(1.5, TRUE)"],
    "named": ["CAST(ROW(1, 'b') AS row(x integer, y varchar))", "CAST(ROW(NULL, 'é') AS row(x integer, y varchar))", "CAST(NULL AS row(x integer, y varchar))"],
    "words": ["MAP(ARRAY['a', 'b'], ARRAY[1, NULL])", "MAP(ARRAY['x'], ARRAY[3])", "MAP()", "CAST(NULL AS map(varchar, integer))"],
    "bag": ["MAP(ARRAY['b', 'a'], ARRAY[1, 2])"],
    "numbers": ["MAP(ARRAY[1, 2], ARRAY['x', 'y'])", "MAP(ARRAY[3], ARRAY[NULL])"],
}  # fmt: skip
CELL_LEAVES: dict[str, list[str]] = {
    "int": ["i", "si", "ti", "b", "id"], "decimal": ["n", "m", "w"], "double": ["f", "r"], "text": ["s", "v", "j"], "bool": ["ok"],
    "date": ["d"], "stamp": ["ts", "t6"], "ints": ["a"], "texts": ["tags"], "binary": ["bin"], "small": ["ti"],
}  # fmt: skip
"""Columns of a.main.cell by kind."""
_HELPERS = ("small", "place", "count", "digits", "daytext", "truths", "jsons")
"""Kinds of arguments that functions do not take any other of."""
KINDS = tuple(k for k in CONSTANTS if k not in _HELPERS)
COMPARED = tuple(k for k in KINDS if k not in ("json", "bag"))
ORDERED = tuple(k for k in COMPARED if k not in ("words", "numbers", "bag"))

CALLS: dict[str, list[str]] = {
    "int": ["({int} + {int})", "({int} - {int})", "({int} * {int})", "({int} / {int})", "({int} % {int})", "(-{int})", "abs({int})", "sign({int})",
            "length({text})", "length({char})", "length({binary})", "strpos({text}, {text})", "strpos({text}, {text}, {small})", "position({text} IN {text})",
            "cardinality({ints})", "cardinality({texts})", "cardinality({words})",
            "year({date})", "quarter({stamp})", "month({stamp})", "week({date})", "day({zoned})", "day_of_week({date})", "day_of_year({stamp})",
            "year_of_week({date})", "hour({stamp})", "hour({zoned})", "minute({time})", "second({stamp})", "millisecond({stamp})",
            "extract(YEAR FROM {stamp})", "extract(DOW FROM {date})", "extract(DAY FROM {days})", "extract(HOUR FROM {days})", "extract(MONTH FROM {months})", "year({months})", "second({days})",
            "date_diff('day', {date}, {date})", "date_diff('week', {date}, {date})", "date_diff('hour', {stamp}, {stamp})", "date_diff('month', {date}, {date})",
            "date_diff('month', {stamp}, {stamp})", "date_diff('year', {date}, {stamp})", "date_diff('quarter', {stamp}, {stamp})", "date_diff('millisecond', {stamp}, {zoned})",
            "date_diff('minute', {time}, {time})", "date_diff('day', {zoned}, {zoned})", "to_milliseconds({days})", "timezone_hour({zoned})",
            "CAST({double} AS bigint)", "CAST({decimal} AS bigint)", "CAST({decimal} AS integer)", "CAST({double} AS tinyint)", "CAST({int} AS smallint)", "CAST({bool} AS integer)",
            "TRY_CAST({text} AS integer)", "TRY_CAST({text} AS bigint)", "CAST({json} AS bigint)", "TRY_CAST({double} AS integer)", "CAST({digits} AS integer)",
            "bitwise_and({int}, {int})", "bitwise_or({int}, {int})", "bitwise_xor({int}, {int})", "bitwise_not({int})", "bitwise_left_shift({int}, {small})",
            "bitwise_right_shift({int}, {small})", "bitwise_right_shift_arithmetic({int}, {small})", "bit_count({int}, 64)",
            "element_at({ints}, {place})", "array_max({ints})", "array_min({ints})", "array_position({ints}, {int})", "array_position({texts}, {text})",
            "mod({int}, {int})", "levenshtein_distance({text}, {text})", "hamming_distance({text}, {text})", "round({int}, -1)", "round({int})", "truncate({int})", "ceil({int})", "floor({int})",
            "element_at({words}, {text})", "codepoint(CAST(substr({text}, 1, 1) AS varchar(1)))", "from_base({digits}, 16)", "crc32({binary})", "width_bucket({double}, 0, 10, 4)",
            "json_array_length({json})", "json_size({json}, '$')", "json_array_length({text})", "regexp_count({text}, '[a-z]')", "regexp_position({text}, '[b-z]')",
            "reduce({ints}, 0, (@1, @2) -> @1 + @2, @1 -> @1)", "reduce({ints}, BIGINT '0', (@1, @2) -> @1 + coalesce({int|@2:int}, 1), @1 -> {int|@1:int})", "reduce({texts}, 0, (@1, @2) -> @1 + 1, @1 -> @1)",
            "from_big_endian_64({binary})", "to_unixtime({zoned}) / 1", "url_extract_port({text})", "{named}.x", "from_big_endian_32(to_big_endian_32({int}))", "CAST({double} AS integer)"],
    "place": ["length({char})", "({count} + 1)", "cardinality({bools})"],
    "count": ["length({text})", "cardinality({ints})", "day_of_week({date})"],
    "digits": ["CAST({int} AS varchar)", "CAST({count} AS varchar)"],
    "daytext": ["CAST({date} AS varchar)", "date_format({stamp}, '%Y-%m-%d')", "to_iso8601({date})"],
    "truths": ["CAST({bool} AS varchar)"],
    "jsons": ["json_format({json})", "json_format(CAST({ints} AS json))"],
    "small": ["length({text})", "cardinality({ints})", "CAST({small} AS bigint)", "({small} + 1)", "abs({small})"],
    "decimal": ["({decimal} + {decimal})", "({decimal} - {decimal})", "({decimal} * {decimal})", "({decimal} / {decimal})", "({decimal} % {decimal})", "abs({decimal})", "(-{decimal})",
                "round({decimal}, 1)", "round({decimal}, -1)", "round({decimal})", "ceil({decimal})", "floor({decimal})", "truncate({decimal})", "truncate({decimal}, 1)", "sign({decimal})",
                "CAST({int} AS decimal(20, 2))", "CAST({decimal} AS decimal(6, 1))", "TRY_CAST({decimal} AS decimal(6, 1))", "TRY_CAST({double} AS decimal(10, 3))", "CAST({double} AS decimal(38, 5))",
                "({decimal} + {int})", "({decimal} / {int})", "({int} * {decimal})", "({int} % {decimal})", "TRY_CAST({text} AS decimal(6, 2))", "CAST({digits} AS decimal(10, 4))", "CAST({json} AS decimal(10, 2))",
                "if({bool}, {decimal}, {int})", "mod({decimal}, {int})", "element_at({decimals}, {place})", "array_max({decimals})", "reduce({decimals}, 0.0, (@1, @2) -> CAST(@1 + coalesce(@2, 1) AS decimal(2, 1)), @1 -> @1)",
                "CAST({decimal} AS decimal(38, 10))", "CAST({bool} AS decimal(3, 1))", "coalesce({int}, {decimal})"],
    "double": ["({double} + {double})", "({double} * {double})", "({double} / {double})", "({double} - {int})", "({decimal} * {double})", "({double} % {double})", "(-{double})", "({double} - {double})",
               "sqrt({double})", "cbrt({double})", "exp({small})", "ln({double})", "log10({double})", "log2({double})", "log({double}, {double})", "power({double}, {small})", "pi()", "e()",
               "sin({double})", "cos({double})", "tan({double})", "asin({double})", "acos({double})", "atan({double})", "atan2({double}, {double})", "sinh({small})", "cosh({small})", "tanh({double})",
               "degrees({double})", "radians({double})", "floor({double})", "ceil({double})", "round({double})", "round({double}, 2)", "round({decimal}, {small})", "truncate({double})", "abs({double})", "sign({double})",
               "CAST({int} AS double)", "CAST({decimal} AS double)", "CAST({int} AS real)", "CAST({decimal} AS real)", "CAST({double} AS real)", "CAST({double} AS double)", "TRY_CAST({text} AS double)", "TRY_CAST({text} AS real)", "CAST({json} AS double)", "CAST({bool} AS double)",
               "to_unixtime({stamp})", "to_unixtime({zoned})", "array_max({doubles})", "array_min({doubles})", "element_at({doubles}, {place})",
               "from_ieee754_64(to_ieee754_64({double}))", "wilson_interval_lower(3, 10, 1.96e0)", "coalesce({int}, {double})", "if({bool}, {decimal}, {double})", "CAST(to_milliseconds({days}) AS double)", "reduce({doubles}, 0e0, (@1, @2) -> @1 + @2, @1 -> @1)"],
    "text": ["lower({text})", "upper({text})", "trim({text})", "ltrim({text})", "rtrim({text})", "trim({text}, 'a ')", "trim(BOTH 'a' FROM {text})", "substr({text}, {small})", "substr({text}, {small}, {small})", "substring({text} FROM 2 FOR 3)", "({text} || {text})",
             "concat({text}, {text}, {text})", "replace({text}, {text}, {text})", "replace({text}, {text})", "reverse({text})", "lpad({text}, {count}, {text})", "rpad({text}, 4, {text})", "translate({text}, {text}, {text})", "chr({count} + 97)",
             "CAST({int} AS varchar)", "CAST({decimal} AS varchar)", "CAST({double} AS varchar)", "CAST({date} AS varchar)", "CAST({stamp} AS varchar)", "CAST({zoned} AS varchar)", "CAST({time} AS varchar)", "CAST({days} AS varchar)", "CAST({months} AS varchar)", "CAST({bool} AS varchar)", "CAST({uuid} AS varchar)", "CAST({char} AS varchar)", "CAST({json} AS varchar)",
             "CAST({text} AS varchar(2))", "CAST({int} AS varchar(3))", "CAST({bool} AS varchar(5))", "TRY_CAST({decimal} AS varchar(3))", "CAST({date} AS varchar(10))", "TRY_CAST({double} AS varchar(5))",
             "split_part({text}, ',', {count})", "split_part({text}, {text}, 1)", "regexp_replace({text}, '[a-c]+', '<$0>')", "regexp_replace({text}, 'b')", "regexp_extract({text}, '[a-z]')", "regexp_extract({text}, '([a-z])(.)', 2)", "regexp_replace({text}, '(.)', @1 -> upper(@1[1]))",
             "array_join({texts}, '-')", "array_join({ints}, ',', 'null')", "array_join({doubles}, ' ')", "element_at({texts}, {place})", "array_max({texts})", "array_min({texts})", "date_format({stamp}, '%Y-%m-%d %H:%i:%s.%f')", "date_format({date}, '%a %b %e %y %j')", "date_format({zoned}, '%W %M %d %h %p %r')",
             "format_datetime({stamp}, 'yyyy-MM-dd HH:mm:ss.SSS')", "format_datetime({date}, 'EEE d MMMM yy')", "format('%s|%5d', {text}, {int})", "format('%.2f %b', {double}, {bool})", "format('%,d %08.1f %x', {int}, {decimal}, {int})", "json_extract_scalar({json}, '$.a')", "json_extract_scalar({text}, '$.n')", "json_extract_scalar({json}, '$[1]')", "json_format({json})",
             "concat_ws('-', {text}, {text})", "concat_ws({text}, {texts})", "to_hex({binary})", "to_base64({binary})", "from_utf8({binary})", "to_base({int}, 7)", "normalize({text}, NFD)", "typeof({any})", "to_iso8601({date})", "to_iso8601({stamp})", "to_iso8601({zoned})", "url_encode({text})", "url_decode({text})", "url_extract_host({text})", "soundex({text})", "format_number({int})", "human_readable_seconds({double})",
             "word_stem({text})", "element_at({numbers}, {int})", "{named}.y", "reduce({texts}, '', (@1, @2) -> CAST(@1 || coalesce(@2, '') AS varchar(0)), @1 -> @1)", "CAST({named}.x AS varchar)", "lower({char})", "trim({char})", "substr({char}, {small})", "({char} || 'b')", "replace({char}, 'a', 'b')", "upper(CAST({char} AS varchar))", "reverse({char})", "lpad(to_hex({binary}), 4, '0')"],
    "char": ["CAST({text} AS char(3))", "CAST({text} AS char(5))", "({char} || {char})", "CAST({char} AS char(6))", "CAST({int} AS char(4))", "TRY_CAST({text} AS char(1))", "concat({char}, {char})"],
    "bool": ["({int} = {int})", "({int} < {decimal})", "({decimal} >= {double})", "({double} = {int})", "({int} <> {double})", "({text} < {char})", "({char} = {text})", "({date} < {stamp})", "({stamp} = {zoned})", "({date} = {zoned})",
             "({text} LIKE '%a%')", "({text} LIKE {text})", "({text} NOT LIKE '_b%')", "({text} LIKE 'a!%%' ESCAPE '!')", "({char} LIKE 'a%')", "({bool} AND {bool})", "({bool} OR {bool})", "(NOT {bool})", "({any} IS NULL)", "({any} IS NOT NULL)",
             "({int} IN ({int}, {decimal}))", "({decimal} BETWEEN {decimal} AND {int})", "({int} NOT BETWEEN {int} AND {int})", "({double} NOT IN ({double}, {int}))", "({text} BETWEEN {text} AND {text})",
             "starts_with({text}, {text})", "contains({ints}, {int})", "contains({texts}, {text})", "contains({doubles}, {double})", "regexp_like({text}, '^[A-Z]')", "regexp_like({text}, '\\d+')",
             "any_match({ints}, @1 -> {bool|@1:int})", "all_match({ints}, @1 -> @1 > {int})", "none_match({texts}, @1 -> {bool|@1:text})", "any_match({bools}, @1 -> @1)", "(1 IN (SELECT qty FROM b.main.sale))", "({int} IN (SELECT qty FROM b.main.sale))", "({int} NOT IN (SELECT id FROM b.main.sale))", "EXISTS (SELECT 1 FROM b.main.sale WHERE qty = {int})", "({int} > ALL (SELECT qty FROM b.main.sale WHERE qty IS NOT NULL))", "({int} = ANY (SELECT qty FROM b.main.sale))",
             "arrays_overlap({ints}, {ints})", "arrays_overlap({texts}, {texts})", "is_nan({double})", "is_finite({double})", "is_infinite({double})", "json_array_contains({json}, {int})", "is_json_scalar({json})", "CAST({int} AS boolean)", "CAST({truths} AS boolean)", "TRY_CAST({text} AS boolean)", "CAST({json} AS boolean)", "CAST({double} AS boolean)", "CAST({decimal} AS boolean)", "contains_sequence({ints}, {ints})", "luhn_check({digits})", "(({int}, {text}) = ({int}, {text}))", "(({int}, {int}) IN (({int}, {int}), (1, 2)))", "({row} IS NULL)"],
    "date": ["({date} + {days})", "({date} - INTERVAL '1' MONTH)", "({date} + {months})", "({date} - INTERVAL '1' DAY)", "date_add('month', {small}, {date})", "date_add('day', {small}, {date})", "date_add('quarter', 1, {date})", "date_trunc('month', {date})", "date_trunc('year', {date})",
             "date_trunc('week', {date})", "date_trunc('quarter', {date})", "CAST({stamp} AS date)", "CAST({zoned} AS date)", "last_day_of_month({date})", "last_day_of_month({stamp})", "TRY_CAST({text} AS date)", "CAST({daytext} AS date)", "date({stamp})", "element_at({dates}, {place})", "array_max({dates})", "from_iso8601_date({daytext})"],
    "stamp": ["({stamp} + {days})", "({stamp} - {days})", "({stamp} + {months})", "({date} + {days})", "date_trunc('hour', {stamp})", "date_trunc('day', {stamp})", "date_trunc('month', {stamp})", "date_trunc('second', {stamp})", "CAST({date} AS timestamp(3))", "date_add('day', {small}, {stamp})", "date_add('month', {small}, {stamp})", "date_add('millisecond', {small}, {stamp})", "date_add('hour', {small}, {stamp})",
              "CAST({stamp} AS timestamp(0))", "CAST({stamp} AS timestamp(6))", "CAST({stamp} AS timestamp(1))", "CAST({zoned} AS timestamp(3))", "CAST({zoned} AS timestamp(0))", "TRY_CAST({text} AS timestamp(3))", "date_parse({daytext}, '%Y-%m-%d')", "({stamp} + ({stamp} - {stamp}))", "coalesce({date}, {stamp})"],
    "zoned": ["({zoned} + {days})", "({zoned} - {months})", "date_trunc('hour', {zoned})", "date_trunc('day', {zoned})", "CAST({stamp} AS timestamp(3) with time zone)", "CAST({date} AS timestamp(0) with time zone)", "at_timezone({zoned}, 'America/New_York')", "({zoned} AT TIME ZONE 'Europe/Oslo')", "({zoned} AT TIME ZONE '+05:30')", "date_add('day', {small}, {zoned})", "date_add('hour', {small}, {zoned})", "with_timezone({stamp}, 'Europe/Oslo')", "from_unixtime({double})", "from_unixtime({int})", "coalesce({zoned}, {stamp})", "from_iso8601_timestamp({daytext})", "parse_datetime({daytext}, 'yyyy-MM-dd')"],
    "time": ["CAST(ts AS time(3))", "({time} + {days})", "({time} - INTERVAL '1' HOUR)", "date_trunc('minute', {time})", "CAST({time} AS time(0))", "CAST(TIMESTAMP '2024-03-10 02:15:00.123 UTC' AS time(6))", "date_add('minute', {small}, {time})", "TRY_CAST({text} AS time(3))"],
    "days": ["({days} + {days})", "({days} * {small})", "({days} / {int})", "({stamp} - {stamp})", "({days} * {double})", "(-{days})", "({date} - {date})", "({zoned} - {zoned})", "({time} - {time})", "parse_duration('1.5h')"],
    "months": ["({months} + {months})", "({months} * {small})", "({months} - {months})", "(-{months})", "({months} / {small})"],
    "binary": ["to_utf8({text})", "({binary} || {binary})", "md5({binary})", "sha1({binary})", "sha256({binary})", "sha512({binary})", "from_hex(to_hex({binary}))", "from_base64(to_base64({binary}))", "CAST({text} AS varbinary)", "reverse({binary})", "substr({binary}, {small})", "xxhash64({binary})", "murmur3({binary})", "to_big_endian_64({int})", "to_big_endian_32({small})", "hmac_sha256({binary}, X'01')", "to_ieee754_64({double})", "lpad({binary}, 3, X'00')", "from_base32(to_base32({binary}))", "to_ieee754_32(CAST({double} AS real))"],
    "json": ["CAST({int} AS json)", "CAST({decimal} AS json)", "CAST({double} AS json)", "CAST({text} AS json)", "CAST({bool} AS json)", "CAST({date} AS json)", "CAST({stamp} AS json)", "CAST({ints} AS json)", "CAST({texts} AS json)", "CAST({words} AS json)", "CAST({named} AS json)", "CAST({rows} AS json)", "CAST({doubles} AS json)", "CAST({numbers} AS json)", "json_parse({jsons})", "TRY(json_parse({text}))", "json_extract({json}, '$.b')", "json_extract({json}, '$.b[1]')", "json_extract({text}, '$.a')", "json_array_get({json}, {place})", "json_extract({json}, '$')", "CAST({nested} AS json)"],
    "uuid": ["CAST(CAST({uuid} AS varchar) AS uuid)", "TRY_CAST({text} AS uuid)"],
    "ints": ["array_sort({ints})", "array_distinct({ints})", "({ints} || {ints})", "({ints} || {int})", "transform({ints}, @1 -> {int|@1:int})", "filter({ints}, @1 -> {bool|@1:int})", "transform({texts}, @1 -> {int|@1:text})", "slice({ints}, {place}, {count})", "reverse({ints})", "array_union({ints}, {ints})", "array_intersect({ints}, {ints})", "array_except({ints}, {ints})", "array_remove({ints}, {int})",
             "ARRAY[{int}, {int}]", "repeat({int}, {count})", "sequence({small}, {small})", "sequence(0, 10, 3)", "flatten({nested})", "concat({ints}, {ints}, {ints})", "trim_array(sequence(1, 4), {count})", "CAST({ints} AS array(bigint))", "map_values({words})", "map_keys({numbers})", "zip_with({ints}, {ints}, (@1, @2) -> {int|@1:int,@2:int})", "CAST({json} AS array(bigint))", "array_sort({ints}, (@1, @2) -> IF(@1 < @2, 1, IF(@1 = @2, 0, -1)))"],
    "texts": ["split({text}, ',')", "split({text}, {text})", "split({text}, 'b', 2)", "array_sort({texts})", "transform({texts}, @1 -> {text|@1:text})", "transform({ints}, @1 -> {text|@1:int})", "filter({texts}, @1 -> {bool|@1:text})", "array_distinct({texts})", "reverse({texts})", "array_remove({texts}, {text})", "array_union({texts}, {texts})", "array_intersect({texts}, {texts})", "ARRAY[{text}, {text}]", "regexp_extract_all({text}, '[a-z]')", "regexp_split({text}, '[,b]')", "map_keys({words})", "map_values({numbers})", "CAST({ints} AS array(varchar))", "slice({texts}, 1, {count})", "CAST({json} AS array(varchar))", "({texts} || {text})"],
    "doubles": ["array_sort({doubles})", "transform({doubles}, @1 -> {double|@1:double})", "CAST({ints} AS array(double))", "ARRAY[{double}, {double}]", "array_distinct({doubles})", "filter({doubles}, @1 -> {bool|@1:double})", "array_union({doubles}, {doubles})", "array_remove({doubles}, {double})", "ARRAY[{double}, {int}]"],
    "decimals": ["ARRAY[{decimal}, {decimal}]", "transform({decimals}, @1 -> {decimal|@1:decimal})", "array_sort({decimals})", "array_distinct({decimals})", "CAST({ints} AS array(decimal(10, 1)))", "filter({decimals}, @1 -> {bool|@1:decimal})", "ARRAY[{decimal}, {int}]"],
    "dates": ["ARRAY[{date}, {date}]", "transform({dates}, @1 -> {date|@1:date})", "array_sort({dates})", "sequence(DATE '2024-01-31', DATE '2024-06-30', INTERVAL '1' MONTH)", "array_distinct({dates})", "reverse({dates})"],
    "bools": ["ARRAY[{bool}, {bool}]", "transform({ints}, @1 -> {bool|@1:int})", "array_distinct({bools})", "array_sort({bools})", "transform({bools}, @1 -> NOT @1)"],
    "nested": ["ARRAY[{ints}, {ints}]", "transform({ints}, @1 -> ARRAY[@1, {int|@1:int}])", "array_distinct({nested})", "ngrams({ints}, 2)", "reverse({nested})"],
    "rows": ["zip({ints}, {texts})", "map_entries({words})", "ARRAY[{row}]", "ARRAY[ROW({int}, {text}), ROW({int}, {text})]", "map_entries({numbers})", "slice({rows}, 1, 1)", "transform({ints}, @1 -> ROW(@1, {text|@1:int}))"],
    "row": ["ROW({int}, {text})", "ROW({any}, {any})", "CAST(ROW({int}, {decimal}) AS row(a bigint, b double))", "element_at({rows}, 1)", "{named}"],
    "named": ["CAST(ROW({int}, {text}) AS row(x integer, y varchar))", "CAST({json} AS row(x integer, y varchar))", "CAST(ROW({decimal}, {int}) AS row(x integer, y varchar))"],
    "words": ["MAP(ARRAY['a', {text}], ARRAY[{int}, {int}])", "map_filter({words}, (@1, @2) -> {bool|@1:text,@2:int})", "transform_values({words}, (@1, @2) -> {int|@1:text,@2:int})", "map_from_entries(ARRAY[ROW({text}, {int})])", "CAST({json} AS map(varchar, integer))", "transform_keys({words}, (@1, @2) -> upper(@1))", "map_zip_with({words}, {words}, (@1, @2, @3) -> @2 + @3)"],
    "bag": ["map_concat({words}, {words})", "map_concat({numbers}, {numbers})", "array_histogram({texts})", "array_histogram({ints})", "split_to_map({text}, ',', '=')", "multimap_from_entries({rows})", "map_concat({words}, array_histogram({texts}))"],
    "numbers": ["MAP(ARRAY[{int}, 77], ARRAY[{text}, {text}])", "transform_values({numbers}, (@1, @2) -> {text|@1:int,@2:text})", "map_filter({numbers}, (@1, @2) -> @1 > {int})", "map_filter({numbers}, (@1, @2) -> @2 IS NOT NULL)"],
}  # fmt: skip
_COMPOUND = (
    "ints",
    "texts",
    "doubles",
    "decimals",
    "dates",
    "bools",
    "nested",
    "rows",
    "row",
    "named",
    "words",
    "numbers",
)
PLAIN = tuple(k for k in COMPARED if k not in _COMPOUND)
for _kind in KINDS:
    if _kind != "bag":  # a bag is a map whose order nobody promises: nothing is made of it
        _k = f"{{{_kind}}}"
        CALLS[_kind] += [
            f"coalesce({_k}, {_k})", f"if({{bool}}, {_k}, {_k})", f"CASE WHEN {{bool}} THEN {_k} ELSE {_k} END", f"TRY({_k})",
            f"if({{bool}}, {_k})", f"CASE {{int}} WHEN {{int}} THEN {_k} WHEN 1 THEN {_k} END", f"element_at(ARRAY[{_k}, {_k}], {{place}})",
        ]  # fmt: skip
        if _kind in COMPARED:
            CALLS["bool"] += [f"({_k} = {_k})", f"({_k} IS DISTINCT FROM {_k})"]
            CALLS[_kind] += [f"nullif({_k}, {_k})"]
        if _kind in PLAIN:
            CALLS["bool"] += [f"({_k} IN ({_k}, {_k}))"]
        if _kind in ORDERED:
            CALLS["bool"] += [f"({_k} < {_k})", f"({_k} >= {_k})", f"({_k} BETWEEN {_k} AND {_k})"]
            CALLS[_kind] += [f"greatest({_k}, {_k})", f"least({_k}, {_k}, {_k})"]

AGGREGATES: dict[str, list[str]] = {
    "int": ["count(*)", "count({any})", "sum({int})", "min({int})", "max({int})", "count(DISTINCT {text})", "count(DISTINCT {int})", "count_if({bool})", "approx_distinct({int})", "bitwise_or_agg({int})", "bitwise_and_agg({int})", "max_by({int}, id)", "min_by({int}, {int} * 100 + id)", "sum({int}) FILTER (WHERE {bool})", "count(*) FILTER (WHERE {bool})", "arbitrary(1)", "sum(DISTINCT {int})"],
    "decimal": ["sum({decimal})", "avg({decimal})", "min({decimal})", "max({decimal})", "avg({decimal}) FILTER (WHERE {bool})", "sum(DISTINCT {decimal})", "max_by({decimal}, id)"],
    "double": ["avg({int})", "sum({double})", "avg({double})", "min({double})", "max({double})", "stddev({int})", "var_pop({small})", "corr({int}, {small})", "covar_pop({int}, {small})", "regr_slope({int}, {small})", "geometric_mean(abs({small}) + 1)", "skewness({small})", "kurtosis({small})", "variance({decimal})"],
    "text": ["min({text})", "max({text})", "max_by({text}, id)", "min_by({text}, id)", "listagg({text}, ',') WITHIN GROUP (ORDER BY id)", "max(CAST({text} AS char(3)))"],
    "bool": ["bool_or({bool})", "bool_and({bool})", "every({bool})", "max({bool})"],
    "date": ["min({date})", "max({date})"], "stamp": ["min({stamp})", "max({stamp})"], "zoned": ["max({zoned})"], "days": ["sum({days})", "max({days})", "avg({days})"], "binary": ["min({binary})"],
    "ints": ["array_agg({int} ORDER BY id)", "array_agg({int} ORDER BY {int} DESC NULLS FIRST, id)", "array_sort(array_agg(DISTINCT {int}))", "max({int}, 2)", "min({int}, 2)", "array_agg({int} ORDER BY id) FILTER (WHERE {bool})", "max({ints})"],
    "texts": ["array_agg({text} ORDER BY id DESC)"],
    "bag": ["histogram({text})", "map_agg(id, {text})"], "row": ["max(ROW({int}, {text}))", "max_by(ROW({int}, {text}), id)"],
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """An expression. parts: the expressions in it. template: of which it was made, "" for a leaf."""

    text: str
    kind: str
    template: str = ""
    parts: tuple[Node, ...] = field(default=())

    def every(self) -> list[Node]:
        """This and all parts, the smallest first."""
        inner = [n for part in self.parts for n in part.every()]
        return sorted([*inner, self], key=lambda n: len(n.text))


class Maker:
    """Makes random expressions over columns. leaves: their names by kind."""

    def __init__(self, rng: random.Random, leaves: Leaves) -> None:
        self.rng = rng
        self.leaves = leaves
        self._names = count(1)

    def make(self, kind: str, depth: int, given: Leaves | None = None) -> Node:
        """given: lambda parameters by kind."""
        given = given or {}
        if kind == "any":
            kind = self.rng.choice(COMPARED)
        if depth <= 0 or self.rng.random() < 0.12:
            return self._leaf(kind, given)
        return self.filled(self.rng.choice(CALLS[kind]), kind, depth, given)

    def filled(self, template: str, kind: str, depth: int, given: Leaves | None = None) -> Node:
        """A template with its parts made."""
        names = {mark: f"x{next(self._names)}" for mark in ("@1", "@2", "@3") if mark in template}
        text = template
        for mark, name in names.items():
            text = text.replace(mark, name)
        parts: list[Node] = []

        def fill(found: re.Match[str]) -> str:
            wanted, _, typed = found[1].partition("|")
            own = {k: list(v) for k, v in (given or {}).items()}
            for one in filter(None, typed.split(",")):
                name, _, its = one.partition(":")
                own.setdefault(its, []).append(name)
            part = self.make(wanted, depth - 1, own)
            parts.append(part)
            return part.text

        return Node(re.sub(r"\{([a-z]+(?:\|[^}]*)?)\}", fill, text), kind, template, tuple(parts))

    def _leaf(self, kind: str, given: Leaves) -> Node:
        columns = [*self.leaves.get(kind, ()), *given.get(kind, ()), *given.get(kind, ())]
        if columns and self.rng.random() < 0.6:
            return Node(self.rng.choice(columns), kind)
        return Node(self.rng.choice(CONSTANTS[kind]), kind)
