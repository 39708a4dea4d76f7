"""The corpus on disk: statements that people write, and beside them the answers that Trino gave.

statements/NAME.sql   one statement after the other, each ends with `;` at the end of a line; a line before it
                      `-- refused: REASON` puts it on the list of what atoll refuses, `-- differs: REASON` on that
                      of known faults; `-- edge: WHAT` says that it asks for what is empty, extreme or odd,
                      `-- zone: NAME` what the session's time zone is, where that is not UTC
answers/NAME.jsonl    a line a statement: {"sql", "columns", "rows"} or {"sql", "error"}
trino_functions.txt   the names of Trino's SHOW FUNCTIONS, a line each
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

__all__ = [
    "TOPICS", "TRINO_FUNCTIONS", "Number", "Statement", "answers", "decoded", "encoded", "statements", "write_answers",
]  # fmt: skip

HERE = Path(__file__).parent
TRINO_FUNCTIONS = HERE / "trino_functions.txt"
TOPICS = sorted(p.stem for p in (HERE / "statements").glob("*.sql"))
Answer = dict[str, Any]


@dataclass(frozen=True)
class Statement:
    """refused: why atoll refuses it. differs: why it answers otherwise than Trino. Both "" where it answers alike.

    edge: what is odd about its values, "" for ordinary ones. zone: the session's time zone.
    """

    sql: str
    refused: str = ""
    differs: str = ""
    edge: str = ""
    zone: str = "UTC"


class Number(str):
    """A number as the wire writes it: 1.0E10 differs from 1E10, and from the text "1.0E10" too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def decoded(text: bytes | str) -> Any:
    """JSON whose numbers stay as they are written."""
    return json.loads(text, parse_float=Number, parse_int=Number)


def statements(topic: str) -> list[Statement]:
    text = (HERE / "statements" / f"{topic}.sql").read_text()
    found = []
    for part in re.split(r";[ ]*(?:\n|$)", text):
        lines = part.strip().splitlines()
        words = ("-- refused:", "-- differs:", "-- edge:", "-- zone:")
        refused, differs, edge, zone = (_said(word, lines) for word in words)
        sql = "\n".join(line for line in lines if not line.startswith("-- ")).strip()
        if sql:
            found.append(Statement(sql, refused, differs, edge, zone or "UTC"))
    return found


def _said(word: str, lines: list[str]) -> str:
    return next((line.removeprefix(word).strip() for line in lines if line.startswith(word)), "")


def answers(topic: str) -> dict[str, Answer]:
    """What Trino answered, by statement."""
    path = HERE / "answers" / f"{topic}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {found.pop("sql"): found for found in map(decoded, lines)}


def write_answers(topic: str, found: dict[str, Answer]) -> None:
    lines = [encoded({"sql": sql, **answer}) for sql, answer in found.items()]
    path = HERE / "answers" / f"{topic}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")


def encoded(value: Any) -> bytes:
    """The JSON of what `decoded` reads, numbers as they were written."""
    return orjson.dumps(_written(value))


def _written(value: Any) -> Any:
    if isinstance(value, Number):
        return orjson.Fragment(str(value).encode())
    if isinstance(value, dict):
        return {k: _written(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_written(v) for v in value]
    return value
