"""`atoll ledger`: read an agent's or a gateway's ledger, and verify that nobody rewrote, dropped or cut it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from atoll import render
from atoll.commands import common
from atoll.commands.agent import load_department
from atoll.commands.common import JsonOption

if TYPE_CHECKING:
    from catalog.exchange import Head
    from catalog.keys import Jwk

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Who asked what and what left: show, verify, heads.")
FileArgument = Annotated[Path | None, typer.Argument(help="A department.yaml, or a gateway.yaml.")]
LedgerOption = Annotated[Path | None, typer.Option("--ledger", help="The ledger itself, a .jsonl file.")]
COLUMNS = ("seq", "time", "kind", "sub", "purpose", "relations", "outcome", "rows")


@app.command()
def show(
    file: FileArgument = None,
    ledger: LedgerOption = None,
    last: Annotated[int, typer.Option(min=0, help="So many newest records; 0 shows all.")] = 20,
    review: Annotated[bool, typer.Option("--review", help="Raw answers alone, each with its case.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Who asked what for which purpose, and what left the house.

    Examples:

      atoll ledger show department.yaml --last 50

      atoll ledger show --ledger state/ledger.jsonl --last 0 --json

      atoll ledger show department.yaml --review

    A `begin` without `end` is a crash; a `refusal` is one record. No record holds a value of a row.
    """
    from catalog.ledger import LedgerError, read_ledger

    path = _ledger(file, ledger)
    try:
        found = (r for r in read_ledger(path) if not review or "review" in r)
        if as_json and not last:
            common.print_json_list(found)
            return
        records = list(deque(found, maxlen=last or None))
    except LedgerError as bad:
        common.err().print(f"✗ {path}: {bad}", style="red")
        raise typer.Exit(1) from None
    if as_json:
        common.print_json(records)
        return
    names = ("seq", "time", "sub", "review", "outcome", "rows") if review else COLUMNS
    rows = [[_cell(record.get(name)) for name in names] for record in records]
    console = common.out()
    console.print(render.listing(names, rows, console.width))


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


@app.command()
def verify(
    file: FileArgument = None,
    ledger: LedgerOption = None,
    key: Annotated[Path | None, typer.Option("--key", help="The ledger's public key (JWK), with --ledger.")] = None,
    peer_heads: Annotated[
        Path | None,
        typer.Option("--peer-heads", help="What others kept: heads, receipts, or the other side's ledger; one a line."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check chain, signatures, numbering, time order, and every head that others witnessed.

    Examples:

      atoll ledger verify department.yaml

      atoll ledger verify --ledger ledger.jsonl --key ledger.pub.jwk --peer-heads gateway.jsonl

    Exit 1 names the first bad record. Heads that others kept show a cut end or a rewritten history, which a chain
    alone cannot: they stand in every receipt, in the other side's ledger, and in what `atoll ledger heads` exported.
    Of those, the ones that are said to be of another ledger are left out.
    Both kinds of ledger are verified alike, a department's and a gateway's.
    """
    from catalog.ledger import verify_ledger

    path = _ledger(file, ledger)
    report = verify_ledger(path, _public_key(file, key), _heads(peer_heads, _named(file)))
    if as_json:
        common.print_json(
            {
                "good": report.good, "records": report.records, "bad_seq": report.bad_seq, "fault": report.fault,
                "unfinished": list(report.unfinished), "witnessed": report.witnessed, "foreign": report.foreign,
            }
        )  # fmt: skip
    elif report.good:
        told = f"; {report.witnessed:,} heads that others kept are in it" if peer_heads is not None else ""
        typer.echo(f"✓ {report.records:,} records, chain, signatures and order hold{told}")
    for name in () if as_json else report.unfinished:
        common.err().print(f"! {name} began and never ended: a crash, or it still runs", style="yellow")
    if report.foreign and not as_json:
        common.err().print(
            f"! {report.foreign:,} heads prove nothing, since no key of this ledger signed them: they are of another "
            "ledger, forged, or of a key that is not given here", style="yellow",
        )  # fmt: skip
    if not report.good:
        common.err().print(f"✗ record {report.bad_seq}: {report.fault}", style="red")
        raise typer.Exit(1)


@app.command()
def heads(
    file: FileArgument = None,
    ledger: LedgerOption = None,
    others: Annotated[bool, typer.Option("--others", help="Heads of other ledgers that this one keeps.")] = False,
) -> None:
    """The newest head of a ledger, to be kept by somebody else; or the heads that it keeps of others.

    Examples:

      atoll ledger heads department.yaml

      atoll ledger heads --ledger gateway.jsonl --others

    One JSON object a line: {"of": .., "seq": .., "hash": .., "signature": ..}. `atoll ledger verify --peer-heads`
    reads them. Exported every day to a third party, they hold even if both sides rewrite their books together.
    """
    from catalog.ledger import LedgerError, read_last, read_ledger, witnessed

    path = _ledger(file, ledger)
    try:
        if others:
            found: Iterator[tuple[str, Head]] = (pair for record in read_ledger(path) for pair in witnessed(record))
        else:
            last = read_last(path)
            found = iter([] if last is None else [(_named(file), last)])
        for name, head in found:
            typer.echo(json.dumps({"of": name, **head.model_dump(mode="json")}))
    except LedgerError as bad:
        common.err().print(f"✗ {path}: {bad}", style="red")
        raise typer.Exit(1) from None


def _named(file: Path | None) -> str:
    return "" if file is None else "gateway" if _of_a_gateway(file) else load_department(file).department


def _of_a_gateway(file: Path) -> bool:
    """Whether a file is a gateway.yaml: a department.yaml names its department."""
    try:
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return False
    return isinstance(body, dict) and "department" not in body and "identity" in body


def _ledger(file: Path | None, ledger: Path | None) -> Path:
    if file is not None and ledger is None:
        return _state(file) / "ledger.jsonl"
    if ledger is not None and file is None:
        return ledger
    raise typer.BadParameter("name one: department.yaml, gateway.yaml, or --ledger FILE")


def _state(file: Path) -> Path:
    if _of_a_gateway(file):
        from gateway.settings import load

        return load(file).state
    return file.resolve().parent / load_department(file).state


def _public_key(file: Path | None, key: Path | None) -> list[Jwk]:
    """The public parts of the ledger's keys, past ones too: of --key, or of the agent's own key file."""
    from catalog import keys

    if key is None:
        if file is None:
            raise typer.BadParameter("--ledger needs --key, the ledger's public key")
        return keys.KeyRing(_state(file) / "ledger.key").public()
    try:
        found = json.loads(key.read_text())
        listed: list[Jwk] = found["keys"] if isinstance(found, dict) and "keys" in found else [found]
        for jwk in listed:
            keys.thumbprint(jwk)
    except (OSError, ValueError, TypeError):
        raise typer.BadParameter(f"{key} holds no Ed25519 key (JWK)") from None
    return listed


def _heads(file: Path | None, whose: str) -> Iterator[Head]:
    """Heads that others kept: lines of heads, of receipts, or of the other side's ledger.

    whose: the ledger that is verified, as others name it; "" if that is not known, and then all are taken.
    """
    from pydantic import ValidationError

    from catalog.exchange import Head
    from catalog.ledger import witnessed

    if file is None:
        return
    try:
        with file.open(encoding="utf-8") as lines:
            for body in (json.loads(line) for line in lines if line.strip()):
                if "r" in body:
                    named = list(witnessed(body["r"]))
                else:
                    head = body.get("ledger", body)
                    kept = Head.model_validate({name: head[name] for name in ("seq", "hash", "signature")})
                    named = [(str(body.get("of") or body.get("department") or ""), kept)]
                yield from (head for name, head in named if not whose or name in ("", whose))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        raise typer.BadParameter(f"{file} holds no heads, receipts or ledger, one JSON object a line") from None
