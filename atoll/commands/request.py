"""`atoll request`: ask a department for access to a table, see what may be asked for, and how one's requests stand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from atoll import render
from atoll.commands import common
from atoll.commands.client import Gateway
from atoll.commands.common import DEFAULT_URL, JsonOption, PurposeOption, TokenOption, UrlOption, UserOption
from catalog.errors import CityError

__all__ = ["request"]

LISTED = ("table", "description", "whom to ask")
MINE = ("id", "table", "purpose", "state", "ends", "note")


def request(
    relation: Annotated[str | None, typer.Argument(help="The table, as department.main.table.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="What you need it for, in one line.")] = "",
    purpose: PurposeOption = "",
    columns: Annotated[str, typer.Option("--columns", help="Those you need, with commas between them.")] = "",
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="How long you need it.")] = None,
    project: Annotated[str, typer.Option("--on-behalf-of", help="The project that you ask for.")] = "",
    listed: Annotated[
        bool, typer.Option("--list", help="Show the tables that departments list for everybody.")
    ] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Show how your own requests stand.")] = False,
    url: UrlOption = DEFAULT_URL,
    user: UserOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Ask a department for a table, for one of your purposes.

    Examples:

      atoll request --user lin --list

      atoll request health.main.stay --user lin --reason "heat days and sick leave" --until 2027-06-30

      atoll request --user lin --mine

    The department's owner decides; nothing is shown before that. A request is filed whether or not there is such a
    table: that it was taken tells nothing.
    """
    common.require_login(user, token)
    if (relation is not None) + listed + mine != 1:
        raise typer.BadParameter("name one table to ask for, or say --list or --mine")
    if relation is None:
        _show(url, user, token, mine, as_json)
        return
    if not reason:
        raise typer.BadParameter("--reason says what the table is needed for; its owner decides by it")
    body: dict[str, Any] = {"relation": relation, "reason": reason, "purpose": purpose, "project": project}
    body["columns"] = [name.strip() for name in columns.split(",") if name.strip()]
    body["until"] = until.date().isoformat() if until else None
    with common.reporting(as_json), Gateway(url, user, token) as gateway:
        found = gateway.request_access(body)
    if as_json:
        common.print_json(found)
        return
    department = relation.partition(".")[0].lower()
    typer.echo(f"{department} has your request {found['id']} for {found['relation']}, purpose {found['purpose']}.")
    common.err().print("Its owner decides. How it stands: atoll request --mine", style="dim")


def _show(url: str, user: str, token: str, mine: bool, as_json: bool) -> None:
    with common.reporting(as_json), Gateway(url, user, token) as gateway:
        found = gateway.access_requests()
    key = "mine" if mine else "listed"
    if as_json:
        common.print_json([{"department": d["department"], key: d[key], "error": d["error"]} for d in found])
        return
    rows = list(_mine(found) if mine else _listed(found))
    console = common.out()
    if rows:
        console.print(render.listing(MINE if mine else LISTED, rows, console.width))
    else:
        typer.echo("You have asked for nothing." if mine else "No department lists a table.")
    for error in (CityError.from_dict(d["error"]) for d in found if d["error"]):
        common.err().print(f"! {error.who} is not in the list: {render.visible(error.message)}", style="yellow")


def _listed(found: Iterable[dict[str, Any]]) -> Iterable[list[str]]:
    for d in found:
        yield from ([f"{d['department']}.main.{r['name']}", r["comment"], d["contact"]] for r in d["listed"])


def _mine(found: Iterable[dict[str, Any]]) -> Iterable[list[str]]:
    for d in found:
        for r in d["mine"]:
            yield [r["id"], f"{d['department']}.main.{r['relation']}", r["purpose"], r["state"], r["ends"], r["note"]]
