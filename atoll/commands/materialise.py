"""`atoll materialise`: copies of a department's relations, kept by its own agent."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atoll import render
from atoll.commands import common
from atoll.commands.agent import load_department, owner_request
from atoll.commands.common import JsonOption
from catalog.durations import words
from catalog.errors import UserError
from catalog.names import RelationName

if TYPE_CHECKING:
    from catalog.policy import Department

__all__ = ["materialise"]


def materialise(
    relations: Annotated[
        list[str] | None, typer.Argument(help="Relations of this department, or city tables that are made of them.")
    ] = None,
    file: Annotated[Path, typer.Option("--file", "-f", help="The department's department.yaml.")] = Path(
        "department.yaml"
    ),
    drop: Annotated[bool, typer.Option("--drop", help="Let the copies go instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep copies of relations beside the department's agent, so that questions need not ask its source.

    Examples:

      atoll materialise company_month -f water/department.yaml     copy it now

      atoll materialise city.water.company_month -f water/department.yaml    this department's part of a city table

      atoll materialise -f water/department.yaml                   what there is, and how old it is

    The policy says which relations, and how old a copy may be: `materialise: 6h` under the relation. A copy
    lies in the agent's own state folder and never leaves it; masks and grants stand above it as above the
    source. The agent renews it by itself while people ask. Sums of mode aggregate, checks of mode verify and
    relations under a row filter read the source.
    """
    department = load_department(file)
    with common.reporting(as_json):
        names = _names(department, relations or [])
        with common.err().status("reading the source" if names and not drop else "asking the agent"):
            found = owner_request(
                file, department, "POST", "/owner/materialise", {"relations": names, "drop": drop}, seconds=None
            )
    if as_json:
        common.print_json(found)
    else:
        _print(found["copies"])
    for name, why in () if as_json else found["why"].items():
        common.err().print(f"✗ {name}: {why}", style="red")
    if found["why"]:
        raise typer.Exit(1)


def _names(department: Department, asked: Collection[str]) -> list[str]:
    """The department's own relations behind what was asked for, each once. Raises UserError."""
    found: dict[str, None] = {}
    for text in asked:
        found.update(dict.fromkeys(_behind(department, text.lower())))
    return list(found)


def _behind(department: Department, text: str) -> list[str]:
    """A relation by its bare or full name; of a city table, those that say `materialise`."""
    from catalog.standards import city_tables

    parts = text.split(".")
    if parts[0] != "city" or len(parts) != 3:
        own = parts[0] == department.department and parts[1:-1] in ([], ["main"])
        return [parts[-1] if own else text]
    table = city_tables().get(RelationName(*parts))
    of = [n.table for n in (table.relations if table else ()) if n.catalog == department.department]
    said = [n for n in of if n in department.relations and department.relations[n].materialise is not None]
    if not said:
        raise UserError(
            f"Nothing of {text} is kept here." if of else f"Nothing of {text} lies in {department.department}.",
            who=department.department, rule="materialise",
            hint=f"Write `materialise: 6h` under relations.{of[0]}." if of else "Name one of its own relations.",
        )  # fmt: skip
    return said


def _print(copies: list[dict[str, Any]]) -> None:
    console = common.out()
    if not copies:
        console.print("No relation says `materialise`: nothing is copied.", style="yellow")
        return
    rows = [(c["relation"], words(c["seconds"]), *_state(c)) for c in copies]
    console.print(render.listing(("relation", "at most", "rows as of", "rows", "MB", ""), rows, console.width))


def _state(copy: dict[str, Any]) -> tuple[str, str, str, str]:
    """When its rows are of, how many, megabytes, a word."""
    if "at" not in copy:
        return "", "", "", copy["failed"] or "no copy yet: the source answers"
    word = copy["failed"] or ("" if copy["answers"] else "too old: the source answers")
    moment = datetime.fromisoformat(copy["vintage"]).astimezone()
    return f"{moment:%Y-%m-%d %H:%M}", f"{copy['rows']:,}", f"{copy['bytes'] / 1e6:.1f}", word
