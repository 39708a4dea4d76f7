"""`atoll ledger`: read an agent's ledger, and verify that nobody rewrote, dropped or cut it."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atoll import render
from atoll.commands import common
from atoll.commands.agent import load_department
from atoll.commands.common import JsonOption

if TYPE_CHECKING:
    from catalog.exchange import Head
    from catalog.keys import Jwk

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Who asked what and what left: show, verify.")
FileArgument = Annotated[Path | None, typer.Argument(help="The department's department.yaml.")]
LedgerOption = Annotated[Path | None, typer.Option("--ledger", help="The ledger itself, a .jsonl file.")]
COLUMNS = ("seq", "time", "kind", "sub", "purpose", "relations", "outcome", "rows")


@app.command()
def show(
    file: FileArgument = None,
    ledger: LedgerOption = None,
    last: Annotated[int, typer.Option(min=0, help="So many newest records; 0 shows all.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Who asked what for which purpose, and what left the house.

    Examples:

      atoll ledger show department.yaml --last 50

      atoll ledger show --ledger state/ledger.jsonl --last 0 --json

    A `begin` without `end` is a crash; a `refusal` is one record. No record holds a value of a row.
    """
    from connectors.agent.ledger import LedgerError, read_ledger

    path = _ledger(file, ledger)
    try:
        records = list(deque(read_ledger(path), maxlen=last or None))
    except LedgerError as bad:
        common.err().print(f"✗ {path}: {bad}", style="red")
        raise typer.Exit(1) from None
    if as_json:
        common.print_json(records)
        return
    rows = [[_cell(record.get(name)) for name in COLUMNS] for record in records]
    console = common.out()
    console.print(render.listing(COLUMNS, rows, console.width))


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


@app.command()
def verify(
    file: FileArgument = None,
    ledger: LedgerOption = None,
    key: Annotated[Path | None, typer.Option("--key", help="The ledger's public key (JWK), with --ledger.")] = None,
    peer_heads: Annotated[
        Path | None, typer.Option("--peer-heads", help="Heads or receipts that others kept: JSON, one a line.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check chain, signatures, numbering, time order, and every head that others witnessed.

    Examples:

      atoll ledger verify department.yaml

      atoll ledger verify --ledger ledger.jsonl --key ledger.pub.jwk --peer-heads receipts.jsonl

    Exit 1 names the first bad record. Heads that others kept (they stand in every receipt) show a cut end
    or a rewritten history, which a chain alone cannot.
    """
    from connectors.agent.ledger import verify_ledger

    path = _ledger(file, ledger)
    report = verify_ledger(path, _public_key(file, key), _heads(peer_heads))
    if as_json:
        common.print_json(
            {
                "good": report.good, "records": report.records, "bad_seq": report.bad_seq, "fault": report.fault,
                "unfinished": list(report.unfinished),
            }
        )  # fmt: skip
    elif report.good:
        typer.echo(f"✓ {report.records:,} records, chain, signatures and order hold")
    for fragment in () if as_json else report.unfinished:
        common.err().print(f"! {fragment} began and never ended: the agent crashed or still runs it", style="yellow")
    if not report.good:
        common.err().print(f"✗ record {report.bad_seq}: {report.fault}", style="red")
        raise typer.Exit(1)


def _ledger(file: Path | None, ledger: Path | None) -> Path:
    if file is not None and ledger is None:
        return _state(file) / "ledger.jsonl"
    if ledger is not None and file is None:
        return ledger
    raise typer.BadParameter("name one: department.yaml, or --ledger FILE")


def _state(file: Path) -> Path:
    return file.resolve().parent / load_department(file).state


def _public_key(file: Path | None, key: Path | None) -> Jwk:
    """The public part of the ledger's key: of --key, or of the agent's own key file."""
    from catalog import keys

    if key is None:
        if file is None:
            raise typer.BadParameter("--ledger needs --key, the ledger's public key")
        return keys.load(_state(file) / "ledger.key").public_jwk
    try:
        jwk: Jwk = json.loads(key.read_text())
        keys.thumbprint(jwk)
    except (OSError, ValueError):
        raise typer.BadParameter(f"{key} holds no Ed25519 key (JWK)") from None
    return jwk


def _heads(file: Path | None) -> list[Head]:
    """Heads that others kept, from lines of heads or of receipts."""
    from pydantic import ValidationError

    from catalog.exchange import Head

    if file is None:
        return []
    try:
        found = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        return [Head.model_validate(body.get("ledger", body)) for body in found]
    except (OSError, ValueError, AttributeError, ValidationError):
        raise typer.BadParameter(f"{file} holds no heads or receipts, one JSON object a line") from None
