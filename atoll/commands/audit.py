"""`atoll audit`: the owner's view. Who asked what of my data, for which purpose, and what did they see?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from atoll import render
from atoll.commands import common
from atoll.commands.agent import load_department
from atoll.commands.common import JsonOption

__all__ = ["audit", "seen"]

COLUMNS = ("time", "user", "purpose", "relations", "mode", "masked", "outcome", "rows", "withheld")


def audit(
    file: Annotated[Path, typer.Argument(help="Your department.yaml.")],
    user: Annotated[str, typer.Option("--user", "-u", help="Only what this user asked.")] = "",
    relation: Annotated[str, typer.Option("--relation", help="Only what was asked of this relation.")] = "",
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="From this day on.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Up to and with this day.")] = None,
    subject: Annotated[
        str, typer.Option("--subject", help="Only checks of this subject (mode verify): an id as it was claimed.")
    ] = "",
    last: Annotated[int, typer.Option(min=0, help="So many newest lines of the table; 0 shows all.")] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Who asked what of my data, for which purpose, and what did they see?

    Examples:

      atoll audit department.yaml --since 2026-11-01

      atoll audit department.yaml --user chen --relation stay --json

      atoll audit department.yaml --subject 449902195012050860

    One line a question: what it read, how much was masked, what came of it, how many rows left and how many cells
    were withheld. The ledger keeps subjects as keyed HMACs; only its owner, who has the key, can look for one.
    With --json all lines are printed, each as it is read: a ledger of any length takes no more memory than a short one.
    """
    from catalog.ledger import LedgerError, read_ledger

    state = file.resolve().parent / load_department(file).state
    names = _subject_names(state, subject, load_department(file).relations) if subject else frozenset()
    days = since and since.date(), until and until.date()
    try:
        lines = seen(read_ledger(state / "ledger.jsonl"))
        found = (line for line in lines if _fits(line, user, relation, *days, names))
        if as_json:
            common.print_json_list(found)
        else:
            _print(found, last)
    except LedgerError as bad:
        common.err().print(f"✗ {state / 'ledger.jsonl'}: {bad}", style="red")
        raise typer.Exit(1) from None


def _print(found: Iterable[dict[str, Any]], last: int) -> None:
    """The newest lines as a table, and on stderr that there are more."""
    number, newest = 0, deque[dict[str, Any]](maxlen=last or None)
    for number, line in enumerate(found, start=1):  # noqa: B007 - how many there were
        newest.append(line)
    console = common.out()
    rows = [[_cell(line, name) for name in COLUMNS] for line in newest]
    console.print(render.listing(COLUMNS, rows, console.width))
    if number > len(newest):
        common.err().print(f"! the newest {len(newest):,} of {number:,}; --last 0 or --json shows all", style="yellow")


def seen(records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One line a question, in the order in which they ended: its `begin` and `end` together, or its refusal.

    Refusals of strangers that were counted together are one line, which says how many `times`. A question without an
    end (a crash, or still running) comes last, with the outcome `unfinished`.
    """
    open_begins: dict[str, dict[str, Any]] = {}
    for record in records:
        kind = record["kind"]
        if kind == "begin":
            open_begins[record["fragment"]] = record
        elif kind == "end" and record.get("fragment") in open_begins:
            yield _line(open_begins.pop(record["fragment"]), record)
        elif kind in ("refusal", "refusals"):
            yield _line(record, record)
    for record in open_begins.values():
        yield _line(record, {"outcome": "unfinished"})


def _line(begin: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": begin["time"], "user": begin.get("sub", ""), "purpose": begin.get("purpose", ""),
        "relations": begin.get("relations", []), "columns": begin.get("columns", {}), "grants": begin.get("grants", []),
        "mode": begin.get("mode", ""), "masks": begin.get("masks", []), "subjects": begin.get("subjects", []),
        "query": begin.get("query", ""), "sql_sha256": begin.get("sql_sha256", ""),
        "time_zone": begin.get("time_zone", "UTC"), "policy": begin.get("policy", ""),
        "outcome": end["outcome"], "rule": end.get("rule", ""),
        "rows": end.get("rows", 0), "bytes": end.get("bytes", 0),
        "withheld": end.get("hidden_cells", 0), "times": end.get("count", 1), "seq": begin["seq"],
    }  # fmt: skip


def _fits(
    line: dict[str, Any], user: str, relation: str, since: date | None, until: date | None, names: frozenset[str]
) -> bool:
    day = datetime.fromisoformat(line["time"]).date()
    return (
        user in ("", line["user"])
        and (not relation or relation in line["relations"])
        and (since is None or day >= since)
        and (until is None or day <= until)
        and (not names or not names.isdisjoint(line["subjects"]))
    )


def _subject_names(state: Path, subject: str, relations: Iterable[str]) -> frozenset[str]:
    """The names under which the ledger keeps a subject, one a relation."""
    from catalog.keys import KeyFileError, load_secret
    from connectors.agent.budget import subject_name
    from connectors.agent.verify import person_id

    try:
        key = load_secret(state / "hmac.key")
    except KeyFileError:
        raise typer.BadParameter(f"{state / 'hmac.key'} cannot be read: only its owner looks for subjects") from None
    spellings = {subject, person_id(subject) or subject}
    return frozenset(subject_name(key, r, s) for r in relations for s in spellings)


def _cell(line: dict[str, Any], name: str) -> Any:
    if name == "time":
        return line["time"][:19]
    if name == "masked":
        return len(line["masks"])
    if name == "outcome" and line["times"] > 1:
        return f"{line[name]}, {line['times']:,} times"
    value = line[name]
    return ", ".join(map(str, value)) if isinstance(value, list) else value
