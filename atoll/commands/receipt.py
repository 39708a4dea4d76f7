"""`atoll receipt`: the proof of who asked what, and of what left a department."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from atoll import render
from atoll.commands import common
from atoll.commands.client import Gateway
from atoll.commands.common import DEFAULT_URL, JsonOption, TokenOption, UrlOption, UserOption

if TYPE_CHECKING:
    from catalog.exchange import Receipt

__all__ = ["receipt"]

_QUERY_ID = re.compile(r"\d{8}_\d{6}_\d{5}_[a-z0-9]+")


def receipt(
    receipt_id: Annotated[
        str, typer.Argument(metavar="ID", help="As the grey line under an answer shows it; or a file, with --keys.")
    ],
    url: UrlOption = DEFAULT_URL,
    user: UserOption = "",
    token: TokenOption = "",
    keys: Annotated[
        Path | None, typer.Option("--keys", help="The department's public keys (JSON): verify the file, ask nobody.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="The department's ledger: find the answer's record in it, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a receipt: who asked what for which purpose, what was masked, what left the department.

    Examples:

      atoll receipt --user lin 20261124_093012_00001_a1b2c

      atoll receipt --user lin 1f00c2 --json > receipt.json

      atoll receipt receipt.json --keys water.keys.json

    The id of a query lists the receipts of all departments that answered it; the id of a receipt explains
    that one. A receipt that was kept in a file is verified without any gateway: by the department's keys, as
    `atoll keys show department.yaml --public` or the agent's /v1/keys gives them. Exit 1 if it is not genuine.
    """
    if keys is not None:
        _verify(Path(receipt_id), keys, ledger, as_json)
        return
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


def _verify(file: Path, keys: Path, ledger: Path | None, as_json: bool) -> None:
    """Whether the department signed what the file says, and has it in its book; prints it, or exits with 1."""
    from pydantic import ValidationError

    from catalog.exchange import Receipt
    from catalog.keys import verify_any
    from catalog.ledger import LedgerError, read_ledger

    fault = ""
    try:
        found = Receipt.model_validate_json(file.read_bytes())
        listed = json.loads(keys.read_bytes())["keys"]
        at = datetime.fromisoformat(found.at).timestamp()
        if not verify_any(listed, found.signed_bytes(), found.signature, at):
            fault = "none of these keys signed it"
        elif ledger is not None and not any(_is_record(record, found) for record in read_ledger(ledger)):
            fault = "the ledger has no record of this answer"
    except (OSError, ValidationError, ValueError, KeyError, TypeError, LedgerError) as bad:
        fault = f"receipt, keys or ledger cannot be read ({type(bad).__name__})"
    if fault:
        common.err().print(f"✗ {file}: {fault}", style="red")
        raise typer.Exit(1)
    if as_json:
        common.print_json(found.model_dump(mode="json"))
    else:
        common.out().print(_facts(found.model_dump(mode="json")))
    common.err().print(f"✓ {found.department} signed this receipt", style="green")


def _is_record(record: dict[str, Any], found: Receipt) -> bool:
    """Whether a record of the ledger is the `end` of the receipt's answer."""
    return (
        record["seq"] == found.ledger.seq and record["hash"] == found.ledger.hash
        and (record.get("delivered"), record.get("rows")) == (found.delivered, found.rows)
    )  # fmt: skip


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
