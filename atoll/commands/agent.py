"""`atoll agent`: put a silo behind an agent, look at what it would show, stop it."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from atoll import render
from atoll.commands import common
from atoll.commands.common import JsonOption
from catalog.errors import CityError, DepartmentError, Outcome, UserError

if TYPE_CHECKING:
    from atoll.commands.preview import View
    from catalog.keys import SigningKey
    from catalog.policy import Department, RelationSpec

__all__ = ["app", "load_department", "receipt_key"]

app = typer.Typer(no_args_is_help=True, help="The department's side: draft, check, serve, pause, resume.")
FileArgument = Annotated[Path, typer.Argument(help="The department's department.yaml.")]


@app.command()
def draft(
    source: Annotated[str, typer.Argument(help="A database URL, a SQLite file, or a folder of files.")],
    department: Annotated[str, typer.Option("--name", help="The department's name.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it here, not to stdout.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a silo and write a first department.yaml: closed until you grant something.

    Examples:

      atoll agent draft ./hospital.db > department.yaml

      atoll agent draft postgresql://reader:SECRET@db.local/water --name water -o department.yaml

    Types, plain names, columns that look personal, masks and limits are proposals; every grant is a
    comment. A sample of rows is looked at here, on this machine, and nothing of it is written down.
    """
    from connectors.agent.draft import draft as write_draft
    from connectors.base import SourceError

    with common.reporting(as_json):
        try:
            with tempfile.TemporaryDirectory() as private:
                text = write_draft(source, (output or Path()).parent, Path(private), department)
        except (ValueError, SourceError) as bad:
            # The owner runs this beside the own silo: the source's text is for exactly this reader.
            raise UserError(
                f"No draft of this silo: {_one_line(bad)}", who="agent draft", rule="source",
                hint="Give a SQLite file, a folder of Parquet, CSV or Excel, or a database URL.",
            ) from None  # fmt: skip
    if output is not None:
        output.write_text(text, encoding="utf-8")
        common.err().print(f"{output}: review it, then: atoll agent check {output}", style="dim")
    elif as_json:
        import yaml

        common.print_json(yaml.safe_load(text))
    else:
        typer.echo(text, nl=False)


@app.command()
def check(file: FileArgument, as_json: JsonOption = False) -> None:
    """Validate, connect, and show each table as each grant would show it.

    Example: atoll agent check department.yaml

    Exit 1 names every fault: unknown keys (with the nearest name), tables or columns that the silo does
    not have, types that do not fit. A warning is no fault: pseudonyms of columns with few distinct values.
    """
    from atoll.commands.preview import views
    from connectors.agent.domains import small_domains

    department = load_department(file)
    folder = file.resolve().parent
    wrong = _silo_faults(department, folder)
    shown = views(department, folder)
    warnings = [] if wrong else [domain.words for domain in small_domains(department, folder)]
    if as_json:
        listed = [v.as_dict() for v in shown]
        body = {"department": department.department, "faults": wrong, "warnings": warnings, "views": listed}
        common.print_json(body)
    else:
        _print_views(department, shown)
    for line in warnings:
        common.err().print(f"! {file.name}: {line}", style="yellow")
    for line in wrong:
        common.err().print(f"✗ {file.name}: {line}", style="red")
    if wrong:
        raise typer.Exit(1)
    if not as_json:
        common.err().print(f"✓ {file.name} is valid and the silo answers", style="green")


def _print_views(department: Department, shown: list[View]) -> None:
    console = common.out()
    for view in shown:
        every = len(view.purposes) == len(department.purposes) > 1
        purposes = "any purpose" if every else ", ".join(view.purposes)
        console.print(Text.assemble((view.relation, "bold"), f"  {view.user} for {purposes}: {view.words}"))
        console.print(render.listing(("column", "type", "shown"), view.columns, console.width))
    if not department.grants:
        console.print("No grant: nobody can ask anything yet.", style="yellow")


def _silo_faults(department: Department, folder: Path) -> list[str]:
    """What the silo has not that the file names: tables and columns. Owner views are run by the silo alone."""
    from connectors.base import SourceError
    from connectors.sources import open_source, parse_source

    wrong = []
    for name, entry in department.sources.items():
        try:
            source = open_source(parse_source(entry), folder, folder / department.state / name)
            try:
                tables = {table.name: {column.name for column in table.columns} for table in source.tables()}
            finally:
                source.close()
        except (SourceError, ValueError) as bad:
            wrong.append(f"sources.{name}: {_one_line(bad)}")
            continue
        for relation, spec in department.relations.items():
            if spec.source == name and spec.table:
                wrong += _table_faults(relation, spec, tables)
    return wrong


def _table_faults(relation: str, spec: RelationSpec, tables: dict[str, set[str]]) -> list[str]:
    columns = tables.get(spec.table)
    if columns is None:
        return [f"relations.{relation}: the silo has no table {spec.table}{_near(spec.table, tables)}"]
    wanted = {name: column.from_ or name for name, column in spec.columns.items()}
    return [
        f"relations.{relation}.columns.{name}: table {spec.table} has no column {raw}{_near(raw, columns)}"
        for name, raw in wanted.items()
        if raw not in columns
    ]


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {found[0]}?" if found else ""


@app.command()
def serve(
    file: FileArgument,
    behind_tls_proxy: Annotated[
        bool, typer.Option("--behind-tls-proxy", help="Something in front ends TLS: plain HTTP may leave this machine.")
    ] = False,
    owners: Annotated[
        Path | None,
        typer.Option("--owners", envvar="ATOLL_OWNERS", help="Public keys of those who sign the policy (JWK set)."),
    ] = None,
) -> None:
    """Answer the city's questions under this department's own policy. Ctrl-C stops it.

    Example: atoll agent serve department.yaml

    With gateways pinned (`atoll keys trust`) it serves TLS and takes their certificates alone. Without, it
    serves plain HTTP, on loopback only. With `--owners` it takes no policy that two of them have not signed,
    now or later: the keys are pinned in its state. Keep that file where the policy's writers cannot write.
    """
    from catalog.imports import do_without
    from connectors.agent import serve as server

    do_without("pandas")
    load_department(file)
    signed = ["--owners", str(owners)] if owners else []
    raise typer.Exit(server.main([str(file), *signed, *(["--behind-tls-proxy"] if behind_tls_proxy else [])]))


@app.command()
def pause(file: FileArgument, as_json: JsonOption = False) -> None:
    """The owner's breaker: stop every answer within two seconds, running ones too.

    Example: atoll agent pause department.yaml
    """
    _owner(file, "pause", as_json)


@app.command()
def resume(file: FileArgument, as_json: JsonOption = False) -> None:
    """Answer again after a pause. Example: atoll agent resume department.yaml"""
    _owner(file, "resume", as_json)


@app.command(name="new-history")
def new_history(
    file: FileArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why the old history is gone; it stands in the ledger.")],
) -> None:
    """Accept that the guard's history of released sums is lost. The agent must be stopped.

    Example: atoll agent new-history department.yaml --reason "disk failed on 3 May"

    What is told from now on is held against nothing that was told before: whoever kept old answers may
    combine them with new ones. Put guard.db back from a copy of the last moment instead, if there is one.
    """
    from catalog.ledger import LedgerError
    from connectors.agent.service import new_history as accept

    department = load_department(file)
    try:
        accept(department, file.resolve().parent, reason)
    except (LedgerError, OSError, ValueError) as bad:
        common.err().print(f"✗ {file}: {_one_line(bad)}", style="red")
        raise typer.Exit(1) from None
    typer.echo("A new history of sums begins; the ledger says so.")


def _owner(file: Path, verb: str, as_json: bool) -> None:
    department = load_department(file)
    with common.reporting(as_json):
        found = owner_request(file, department, "POST", f"/owner/{verb}")
    if as_json:
        common.print_json(found)
    else:
        typer.echo(f"{department.department} is {'paused' if verb == 'pause' else 'answering'}.")


def owner_request(
    file: Path, department: Department, method: str, path: str, body: Any = None, seconds: float | None = 10
) -> Any:
    """A call to the agent's own door on loopback. body: sent as JSON. seconds: to wait; None = as long as it takes.
    Raises CityError."""
    import orjson

    from catalog.http import Client, HTTPError

    address = department.owner_listen
    if not address:
        raise UserError(
            "This department.yaml opens no owner's door.", who=department.department, rule="owner_listen",
            hint="Set owner_listen: 127.0.0.1:PORT and start the agent again.",
        )  # fmt: skip
    try:
        with Client(base_url=f"http://{address}", trust_env=False, timeout=seconds) as http:
            answer = http.request(method, path, json=body)
    except HTTPError:
        raise DepartmentError(
            f"No agent answers at {address}.", Outcome.DOWN, who=department.department, rule="connection",
            hint=f"Start it with: atoll agent serve {file}",
        ) from None  # fmt: skip
    found = orjson.loads(answer.content) if answer.content else {}
    if answer.status_code >= 400:
        raise CityError.from_dict(found.get("error", {}) | {"who": department.department})
    return found


def load_department(file: Path) -> Department:
    """The parsed file; a fault ends the command with one line a fault and exit 1."""
    from catalog.policy import PolicyError, load

    try:
        return load(file)
    except PolicyError as bad:
        lines = bad.faults
    except (OSError, UnicodeDecodeError):
        lines = ("the file cannot be read",)
    for line in lines:
        common.err().print(f"✗ {file}: {line}", style="red")
    raise typer.Exit(1)


def receipt_key(file: Path, department: Department) -> SigningKey:
    """The key that signs the agent's receipts, in the agent's state folder; made at its first start."""
    from catalog import keys

    return keys.load_or_create(file.resolve().parent / department.state / "receipt.key")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
