"""How answers, progress and refusals look in a terminal.

Everything that a person reads of `atoll query` is made here: the box table, the grey line under it, the
line per department while one waits, and the refusal that says who refused, by which rule, what to do next.
Values are data, never markup: control characters are shown, not sent to the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from catalog.errors import CityError, Location, Outcome

__all__ = ["Answer", "answer_json", "error_lines", "footer", "listing", "markdown", "progress", "table"]

Row = Sequence[Any]
_NUMERIC = re.compile(r"(tinyint|smallint|integer|bigint|real|double|decimal)\b", re.IGNORECASE)
_CONTROL = {i: chr(0x2400 + i) for i in range(32)} | {0x7F: "\u2421"} | dict.fromkeys(range(0x80, 0xA0), "\ufffd")
MIN_COLUMN = 8


@dataclass(frozen=True)
class Answer:
    """An answer as REST gives it. columns: (name, Trino type). departments: as `/api/query` lists them."""

    query_id: str
    columns: tuple[tuple[str, str], ...]
    rows: Sequence[Row]
    warnings: tuple[str, ...] = ()
    departments: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_api(cls, body: dict[str, Any]) -> Answer:
        return cls(
            query_id=str(body.get("query_id", "")),
            columns=tuple((str(c["name"]), str(c["type"])) for c in body.get("columns", [])),
            rows=list(body.get("rows", [])),
            warnings=tuple(str(w) for w in body.get("warnings", [])),
            departments=tuple(body.get("departments", [])),
            seconds=float(body.get("seconds", 0.0)),
            raw=body,
        )


def plain(value: Any) -> str:
    """A value as text, NULL as the word."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return orjson.dumps(value).decode()
    return str(value)


def visible(text: str) -> str:
    """The text with control characters made visible, so that data cannot command a terminal."""
    return text.translate(_CONTROL)


# ---------------------------------------------------------------- tables


def table(answer: Answer, width: int, max_rows: int = 0) -> RenderableType:
    """The answer as a box with names and types; as one block a row when `width` holds no such box.

    max_rows: show so many and count the rest; 0 shows all.
    """
    shown = answer.rows[:max_rows] if max_rows else answer.rows
    numeric = [bool(_NUMERIC.match(kind)) for _, kind in answer.columns]
    fits = _fits(answer, shown, numeric, width)
    parts: list[RenderableType] = [_box(answer, shown, numeric) if fits else _blocks(answer, shown, width)]
    left = len(answer.rows) - len(shown)
    if left:
        parts.append(Text(f"… {left:,} more rows: --max-rows 0 shows all, --output FILE keeps all", "dim"))
    return Group(*parts)


def listing(names: Sequence[str], rows: Sequence[Row], width: int) -> RenderableType:
    """A list that is no answer, so without types: departments, grants, receipts. None is an empty cell."""
    shown = [["" if value is None else value for value in row] for row in rows]
    numeric = [all(isinstance(row[at], int) or row[at] == "" for row in shown) for at in range(len(names))]
    untyped = Answer("", tuple((name, "") for name in names), shown)
    fits = _fits(untyped, shown, numeric, width)
    return _box(untyped, shown, numeric, typed=False) if fits else _blocks(untyped, shown, width)


def _fits(answer: Answer, rows: Sequence[Row], numeric: list[bool], width: int) -> bool:
    """Whether a box fits: text may fold, but numbers must stay whole and each column readable."""
    needed = 1
    for at, (name, kind) in enumerate(answer.columns):
        heading = max(cell_len(name), cell_len(kind))
        cells = max((cell_len(plain(row[at])) for row in rows), default=0)
        needed += 3 + (max(heading, cells) if numeric[at] else min(max(heading, cells), MIN_COLUMN))
    return needed <= width


def _box(answer: Answer, rows: Sequence[Row], numeric: list[bool], typed: bool = True) -> Table:
    out = Table(box=box.SQUARE, header_style="", show_edge=True, pad_edge=True)
    for (name, kind), is_number in zip(answer.columns, numeric, strict=True):
        heading = Text(visible(name), "bold")
        if typed:
            heading.append(f"\n{kind}", "dim")
        out.add_column(heading, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for row in rows:
        out.add_row(*(_cell(value) for value in row))
    return out


def _cell(value: Any) -> Text:
    return Text("NULL", "dim italic") if value is None else Text(visible(plain(value)))


def _blocks(answer: Answer, rows: Sequence[Row], width: int) -> RenderableType:
    """One block a row, `name  value` a line: nothing is cut, however many columns there are."""
    names = [visible(name) for name, _ in answer.columns]
    margin = max((cell_len(name) for name in names), default=0)
    parts: list[RenderableType] = []
    for number, row in enumerate(rows, 1):
        title = f"─ row {number} "
        parts.append(Text(title + "─" * max(0, min(width, 60) - len(title)), "dim"))
        block = Table.grid(padding=(0, 2))
        block.add_column(style="bold", min_width=margin, no_wrap=True)
        block.add_column(overflow="fold")
        for name, value in zip(names, row, strict=True):
            block.add_row(Text(name), _cell(value))
        parts.append(block)
    return Group(*parts)


def markdown(answer: Answer) -> str:
    """A Markdown table, numbers right-aligned."""
    numeric = [bool(_NUMERIC.match(kind)) for _, kind in answer.columns]
    lines = [
        _pipe(_escaped(name) for name, _ in answer.columns),
        _pipe("---:" if n else "---" for n in numeric),
        *(_pipe(_escaped(plain(value)) for value in row) for row in answer.rows),
    ]
    return "\n".join(lines)


def _pipe(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    return visible(text.replace("\\", "\\\\").replace("|", "\\|").replace("\r\n", "\n")).replace("\u240a", "<br>")


def answer_json(answer: Answer) -> bytes:
    """The whole answer as JSON: what REST said, indented."""
    return orjson.dumps(answer.raw, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


# ---------------------------------------------------------------- under the table


def footer(answer: Answer) -> Text:
    """The one grey line: who answered, how much, how long, what was masked or is absent, the receipt."""
    parts = []
    names = [str(d["name"]) for d in answer.departments]
    if names:
        parts.append(f"{_count(len(names), 'department')} ({', '.join(names)})")
    # An answer that went to a file is not held; its rows are not known here.
    parts += [_count(len(answer.rows), "row")] if answer.columns else []
    parts.append(f"{answer.seconds:.1f} s")
    masks = masks_of(answer.departments)
    parts.append("masks: " + ", ".join(masks) if masks else "no masks")
    absent = sum(int(d.get("suppressed") or 0) for d in answer.departments)
    if absent:
        parts.append(f"{_count(absent, 'cell')} absent")
    made_up = [f"{d['name']}.{r}" for d in answer.departments for r in d.get("synthetic") or ()]
    if made_up:
        parts.append(f"SYNTHETIC, not real data: {', '.join(made_up)}")
    receipts = [str(r) for d in answer.departments for r in d.get("receipts") or ()]
    if len(receipts) == 1:
        parts.append(f"receipt {receipts[0]}")
    elif receipts:
        parts.append(f"{len(receipts)} receipts: atoll receipt {answer.query_id}")
    return Text(visible(" · ".join(parts)), "dim")


def masks_of(departments: Iterable[dict[str, Any]]) -> list[str]:
    """Every mask that was applied, in the order in which the departments name them, each once."""
    return list(dict.fromkeys(str(m) for d in departments for m in d.get("masks") or ()))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def visible_lines(text: str) -> Text:
    """Several lines of text from elsewhere, each made visible."""
    return Text("\n".join(visible(line) for line in text.splitlines()))


def warnings(answer: Answer) -> list[Text]:
    """One line a warning."""
    return [Text("! ", "yellow").append(visible(w), "default") for w in answer.warnings]


# ---------------------------------------------------------------- while one waits

_STATES = {
    "queued": ("…", "yellow"),
    "running": ("›", "cyan"),
    "done": ("✓", "green"),
    "kept": ("✓", "dim"),
    "refused": ("✗", "red"),
    "down": ("✗", "red"),
    "cancelled": ("-", "dim"),
}


def progress(body: dict[str, Any], seconds: float) -> RenderableType:
    """One line per department and a last one for the merge. body: the answer of `/progress`."""
    out = Table.grid(padding=(0, 2))
    for department in body.get("departments", []):
        state = str(department.get("state", "queued"))
        sign, style = _STATES.get(state, ("?", "dim"))
        out.add_row(Text(sign, style), Text(str(department["name"]), "bold"), Text(_doing(state, department), style))
    out.add_row("", Text("merge", "dim"), Text(f"{str(body.get('state', '')).lower()} · {seconds:.1f} s", "dim"))
    return out


def _doing(state: str, department: dict[str, Any]) -> str:
    rows = int(department.get("rows") or 0)
    return f"{state} · {_count(rows, 'row')}" if state in ("running", "done") else _DOING.get(state, state)


_DOING = {"queued": "waiting for its turn"}


# ---------------------------------------------------------------- refusals


def error_lines(error: CityError, sql: str = "") -> list[Text]:
    """A refusal as an answer: one clear line first, then the place in the text, the rule, the next step."""
    verb = "refused" if error.trino.kind == "USER_ERROR" else "failed"
    who = error.who or "gateway"
    lines = [
        Text.assemble(
            ("✗ ", "red bold"),
            (f"{who} {verb}: ", "bold"),
            visible(error.message),
            (f"  {error.trino.name}", "dim"),
        )
    ]
    lines += _caret(sql, error.location)
    if error.rule:
        lines.append(Text.assemble(("  rule  ", "dim"), visible(error.rule)))
    if error.hint:
        lines.append(Text.assemble(("  next  ", "dim"), visible(error.hint)))
    if error.contact and error.outcome is not Outcome.CANCELED:
        lines.append(Text.assemble(("  ask   ", "dim"), visible(error.contact)))
    if error.retry_after:
        lines.append(Text.assemble(("  wait  ", "dim"), f"{error.retry_after:.0f} s, then ask again"))
    return lines


def _caret(sql: str, location: Location | None) -> list[Text]:
    """The line of the statement and carets under the word at fault."""
    lines = sql.splitlines()
    if location is None or not 1 <= location.line <= len(lines):
        return []
    line = lines[location.line - 1].expandtabs(1)
    at = location.column - 1
    if not 0 <= at <= len(line):
        return []
    word = re.match(r'\w+(\.\w+)*|"[^"]*"|\S', line[at:])
    margin = f"  {location.line} │ "
    carets = " " * cell_len(margin + line[:at]) + "^" * max(1, cell_len(word.group()) if word else 1)
    return [Text(margin, "dim").append(visible(line), "default"), Text(carets, "red bold")]


def print_error(console: Console, error: CityError, sql: str = "") -> None:
    for line in error_lines(error, sql):
        console.print(line, soft_wrap=True)
