"""`atoll receipt`: the proof of who asked what, and of what left a department."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from atoll import render
from atoll.commands import common
from atoll.commands.client import Gateway
from atoll.commands.common import DEFAULT_URL, JsonOption, TokenOption, UrlOption, UserOption

__all__ = ["receipt"]

_QUERY_ID = re.compile(r"\d{8}_\d{6}_\d{5}_[a-z0-9]+")


def receipt(
    receipt_id: Annotated[str, typer.Argument(metavar="ID", help="As the grey line under an answer shows it.")],
    url: UrlOption = DEFAULT_URL,
    user: UserOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Explain a receipt: who asked what for which purpose, what was masked, what left the department.

    Example: atoll receipt --user lin 20261124_093012_00001_a1b2c

    The id of a query lists the receipts of all departments that answered it; the id of a receipt explains
    that one.
    """
    common.require_login(user, token)
    with common.reporting(as_json), Gateway(url, user, token) as gateway:
        if _QUERY_ID.fullmatch(receipt_id):
            departments = gateway.progress(receipt_id)["departments"]
            ids = [str(one) for department in departments for one in department["receipts"]]
        else:
            ids = [receipt_id]
        found = [gateway.receipt(one) for one in ids]
    if as_json:
        common.print_json(found if _QUERY_ID.fullmatch(receipt_id) else found[0])
    elif len(found) == 1:
        common.out().print(_facts(found[0]))
    else:
        _print_list(found)


def _print_list(found: list[dict[str, Any]]) -> None:
    rows = [
        [r["id"], r["department"], ", ".join(r["relations"]), r["rows"], ", ".join(r["masks"]) or "none"] for r in found
    ]
    console = common.out()
    console.print(render.listing(("receipt", "department", "relations", "rows", "masks"), rows, console.width))


def _facts(body: dict[str, Any]) -> Table:
    out = Table.grid(padding=(0, 2))
    for name, value in body.items():
        if value not in (None, "", [], {}):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else render.plain(value)
            out.add_row(Text(name.replace("_", " "), "bold"), Text(render.visible(shown)))
    return out
