"""`atoll agent untoken`: what a token of the mask `token` stands for, for the department's owner alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atoll.commands import common
from atoll.commands.agent import FileArgument, load_department, owner_request
from atoll.commands.common import JsonOption
from catalog.errors import CityError, DepartmentError, Outcome, UserError

if TYPE_CHECKING:
    from catalog.policy import Department

__all__ = ["untoken"]


def untoken(
    file: FileArgument,
    token: Annotated[str, typer.Argument(help="The token, as an analyst was shown it: 32 hexadecimal digits.")],
    as_json: JsonOption = False,
) -> None:
    """What a token stands for. Each look is a record in the department's ledger, one in vain too.

    Example: atoll agent untoken department.yaml 5f0c7d0a4b1e4f4f9a3d2c1b0a998877

    A running agent is asked at its owner's door (`owner_listen`); of a stopped one the vault is read here.
    """
    department = load_department(file)
    with common.reporting(as_json):
        found = _ask(file, department, token.strip().lower())
        if not found["found"]:
            raise UserError(
                "This department gave no such token.", who=department.department, rule="untoken",
                hint="A token has 32 hexadecimal digits; another department's are kept in its own vault.",
            )  # fmt: skip
    if as_json:
        common.print_json(found)
    else:
        typer.echo(found["value"])
        common.err().print(f"given for {found['purpose']} since {found['at']}", style="dim")


def _ask(file: Path, department: Department, token: str) -> dict[str, Any]:
    if department.owner_listen:
        try:
            answer: dict[str, Any] = owner_request(file, department, "POST", "/owner/untoken", {"token": token})
            return answer
        except DepartmentError as down:
            if down.outcome is not Outcome.DOWN:
                raise
    return _look(file.resolve().parent / department.state, department.department, token)


def _look(state: Path, department: str, token: str) -> dict[str, Any]:
    """In the vault of an agent that is not running: the ledger has one writer, and it must record the look."""
    from catalog.keys import KeyFileError, KeyRing
    from catalog.ledger import Ledger, LedgerError
    from connectors.agent.vault import Vault, untoken

    try:
        ledger = Ledger(state / "ledger.jsonl", KeyRing(state / "ledger.key"))
    except (LedgerError, KeyFileError, OSError) as bad:
        raise _closed(department) from bad
    vault = Vault(state / "vault.db", department)
    try:
        held = untoken(vault, ledger, token)
    except LedgerError as bad:
        raise _closed(department) from bad
    finally:
        vault.close()
        ledger.close()
    return {"found": held is not None, **(asdict(held) if held else {})}


def _closed(department: str) -> CityError:
    return UserError(
        "The department's ledger cannot be written, so nothing is looked up.", who=department, rule="ledger",
        hint="Give a running agent `owner_listen`, and ask again there; of one that never ran there are no tokens.",
    )  # fmt: skip
