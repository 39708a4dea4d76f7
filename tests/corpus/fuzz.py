# ruff: noqa: E501 - tables of expressions
"""Random expressions over the corpus' tables, compared with a real Trino: `make corpus-fuzz`.

    python -m tests.corpus.fuzz [SECONDS] [SEED]

What differs is printed, and belongs into `statements/` once it is understood. TRINO_URL: a server that runs already.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.corpus.fixtures import Statement
from tests.corpus.record import ready
from tests.corpus.replay import replay
from tests.corpus.tables import CORPUS
from tests.corpus.test_corpus import difference
from tests.corpus.trino import Trino, running_trino

__all__ = ["statement"]

LEAVES = {
    "int": ["i", "si", "ti", "b", "id", "0", "1", "-7", "3", "CAST(NULL AS integer)", "100"],
    "decimal": ["n", "m", "1.5", "-0.05", "100.00", "CAST(NULL AS decimal(5, 2))", "0.333"],
    "double": ["f", "1.5e0", "-0.25e0", "0e0", "1e10", "CAST(NULL AS double)"],
    "text": ["s", "v", "'abc'", "''", "'é中'", "' x '", "CAST(NULL AS varchar)", "'12'", "'a,b'"],
    "bool": ["ok", "TRUE", "FALSE", "CAST(NULL AS boolean)"],
    "date": ["d", "DATE '2024-02-29'", "DATE '2023-12-31'", "CAST(NULL AS date)"],
    "stamp": ["ts", "t6", "TIMESTAMP '2024-02-29 12:34:56.789'", "CAST(NULL AS timestamp(3))"],
    "ints": ["a", "ARRAY[1, 2, NULL]", "ARRAY[3, 3, 1]", "CAST(NULL AS array(integer))"],
    "texts": ["tags", "ARRAY['x', 'y']", "ARRAY['é', NULL]"],
}
CALLS: dict[str, list[str]] = {
    "int": ["({int} + {int})", "({int} - {int})", "({int} * {int})", "({int} / {int})", "({int} % {int})", "abs({int})", "sign({int})",
            "length({text})", "strpos({text}, {text})", "cardinality({ints})", "year({date})", "day_of_week({date})", "hour({stamp})",
            "week({date})", "coalesce({int}, {int})", "CASE WHEN {bool} THEN {int} ELSE {int} END", "greatest({int}, {int})",
            "nullif({int}, {int})", "date_diff('day', {date}, {date})", "date_diff('hour', {stamp}, {stamp})",
            "date_diff('month', {date}, {date})", "CAST({double} AS bigint)", "CAST({decimal} AS bigint)", "TRY_CAST({text} AS integer)",
            "bitwise_and({int}, {int})", "element_at({ints}, 2)", "array_max({ints})", "array_position({ints}, {int})", "mod({int}, 5)",
            "levenshtein_distance({text}, {text})", "round({int}, -1)", "CAST({bool} AS integer)", "month({stamp})", "second({stamp})"],
    "decimal": ["({decimal} + {decimal})", "({decimal} - {decimal})", "({decimal} * {decimal})", "({decimal} / {decimal})",
                "({decimal} % {decimal})", "abs({decimal})", "round({decimal}, 1)", "ceil({decimal})", "floor({decimal})", "truncate({decimal})",
                "coalesce({decimal}, {decimal})", "CAST({int} AS decimal(20, 2))", "TRY_CAST({decimal} AS decimal(6, 1))",
                "greatest({decimal}, {decimal})", "({decimal} + {int})", "({decimal} / {int})", "-{decimal}", "TRY_CAST({text} AS decimal(6, 2))",
                "if({bool}, {decimal}, {int})", "sign({decimal})"],
    "double": ["({double} + {double})", "({double} * {double})", "({double} / {double})", "({double} - {int})", "({decimal} * {double})",
               "sqrt({double})", "floor({double})", "round({double}, 2)", "CAST({int} AS double)", "CAST({decimal} AS double)", "abs({double})",
               "coalesce({double}, {double})", "TRY_CAST({text} AS double)", "least({double}, {double})", "sign({double})"],
    "text": ["lower({text})", "upper({text})", "trim({text})", "substr({text}, 2)", "substr({text}, -2, 1)", "({text} || {text})",
             "concat({text}, {text})", "replace({text}, 'a', 'bb')", "reverse({text})", "lpad({text}, 4, '*')", "CAST({int} AS varchar)",
             "CAST({decimal} AS varchar)", "CAST({double} AS varchar)", "CAST({date} AS varchar)", "CAST({stamp} AS varchar)",
             "CAST({bool} AS varchar)", "split_part({text}, ',', 1)", "coalesce({text}, {text})", "regexp_replace({text}, '[a-c]+', '<$0>')",
             "regexp_extract({text}, '[a-z]')", "array_join({texts}, '-')", "element_at({texts}, 1)", "date_format({stamp}, '%Y-%m-%d')",
             "json_extract_scalar(j, '$.n')", "if({bool}, {text}, {text})", "CAST({text} AS varchar(2))", "translate({text}, 'abc', 'xy')",
             "concat_ws('-', {text}, {text})", "to_hex(to_utf8({text}))"],
    "bool": ["({int} = {int})", "({int} < {decimal})", "({decimal} >= {decimal})", "({text} = {text})", "({text} < {text})", "({text} LIKE '%a%')",
             "({date} > {date})", "({stamp} <= {stamp})", "({bool} AND {bool})", "({bool} OR {bool})", "(NOT {bool})", "({int} IS NULL)",
             "({int} IS DISTINCT FROM {int})", "({int} IN ({int}, {int}))", "({decimal} BETWEEN {decimal} AND {decimal})", "({double} < {double})",
             "starts_with({text}, 'a')", "contains({ints}, {int})", "regexp_like({text}, '^[A-Z]')", "any_match({ints}, x -> x > 1)",
             "({double} = {int})", "(1 IN (SELECT qty FROM b.main.sale))", "({ints} = {ints})", "arrays_overlap({ints}, {ints})"],
    "date": ["({date} + INTERVAL '1' DAY)", "({date} - INTERVAL '1' MONTH)", "date_add('month', 1, {date})", "date_trunc('month', {date})",
             "date_trunc('week', {date})", "CAST({stamp} AS date)", "last_day_of_month({date})", "coalesce({date}, {date})", "greatest({date}, {date})"],
    "stamp": ["({stamp} + INTERVAL '90' MINUTE)", "date_trunc('hour', {stamp})", "CAST({date} AS timestamp(3))", "date_add('day', -1, {stamp})",
              "coalesce({stamp}, {stamp})", "CAST({stamp} AS timestamp(0))"],
    "ints": ["array_sort({ints})", "array_distinct({ints})", "({ints} || {ints})", "transform({ints}, x -> x + 1)", "filter({ints}, x -> x > 1)",
             "slice({ints}, 1, 2)", "reverse({ints})", "array_union({ints}, {ints})", "array_intersect({ints}, {ints})", "array_remove({ints}, {int})"],
    "texts": ["split({text}, ',')", "array_sort({texts})", "transform({texts}, x -> upper(x))", "array_distinct({texts})", "reverse({texts})"],
}  # fmt: skip
AGGREGATES = ["count(*)", "count({int})", "sum({decimal})", "avg({decimal})", "min({text})", "max({date})", "count(DISTINCT {text})",
              "bool_or({bool})", "max_by({text}, id)", "count_if({bool})", "array_agg({int} ORDER BY id)", "min({decimal})",
              "sum({int})"]  # fmt: skip


def expression(rng: random.Random, kind: str, depth: int) -> str:
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(LEAVES[kind])
    text = rng.choice(CALLS[kind])
    while "{" in text:
        start = text.index("{")
        end = text.index("}", start)
        text = text[:start] + expression(rng, text[start + 1 : end], depth - 1) + text[end + 1 :]
    return text


def statement(rng: random.Random) -> str:
    """One random query: columns of some depth, or aggregates over groups."""
    # The extremes overflow nearly everything; most statements leave them out.
    where = rng.choice(["id IN (1, 2, 5, 6)"] * 6 + ["id <> 3", "id <> 4", "TRUE"])
    if rng.random() < 0.2:
        shown = ", ".join(_filled(rng, rng.choice(AGGREGATES)) for _ in range(2))
        return f"SELECT {shown} FROM a.main.cell WHERE {where} GROUP BY {expression(rng, 'bool', 1)}"
    shown = ", ".join(expression(rng, rng.choice(list(CALLS)), rng.choice([1, 2, 2, 3])) for _ in range(2))
    return f"SELECT id, {shown} FROM a.main.cell WHERE {where}"


def _filled(rng: random.Random, text: str) -> str:
    while "{" in text:
        start, end = text.index("{"), text.index("}")
        text = text[:start] + expression(rng, text[start + 1 : end], 1) + text[end + 1 :]
    return text


def compare(trino: Trino, seconds: float, seed: int, told: Callable[[str], object] = print) -> list[str]:
    """Statements that both answer alike; `told` of each that they do not."""
    rng, alike, wrong, ends = random.Random(seed), [], 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        sql = statement(rng)
        asked = trino.ask(sql)
        asked.pop("message", None)
        found = replay(CORPUS, sql)
        if "error" in asked and "error" in found:
            continue  # which of several errors comes first depends on the order of evaluation
        if text := difference(Statement(sql), asked, found):
            wrong += 1
            told(text)
        else:
            alike.append(sql)
    told(f"{len(alike)} alike, {wrong} different; seed {seed}")
    return alike


def main() -> None:
    seconds, seed = (float(sys.argv[1]) if len(sys.argv) > 1 else 60.0), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if url := os.environ.get("TRINO_URL"):
        compare(ready(Trino(url)), seconds, seed)
        return
    with tempfile.TemporaryDirectory() as folder, running_trino(Path(folder)) as trino:
        compare(ready(trino), seconds, seed)


if __name__ == "__main__":
    main()
