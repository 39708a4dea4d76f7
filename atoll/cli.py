"""The `atoll` command: every verb of analysts, departments and operators in one place.

Each command lives in `atoll/commands/`; heavy parts (gateway, agents, Arrow) are imported only by the
command that needs them, so that `atoll --help` is instant.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from atoll.commands import (
    agent,
    audit,
    demo,
    departments,
    gateway,
    grants,
    keys,
    ledger,
    materialise,
    policy,
    query,
    receipt,
    request,
    token,
    untoken,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="atoll",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Ask the whole city. Move nothing.\n\n"
        "One SQL statement over tables that belong to several departments; each department's own agent "
        "checks it, masks it, caps it and logs it.\n\n"
        "[bold]Start here[/bold]:\n\n"
        "  atoll demo                                       a whole city on this machine\n\n"
        '  atoll query --user lin "SELECT * FROM city.org.company LIMIT 5"\n\n'
        "  atoll agent draft ./hospital.db > department.yaml    put your own silo behind an agent\n\n"
        "Exit status: 0 done, 1 refused or failed (one clear line on stderr), 2 used wrongly."
    ),
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # late: it parses mail, which takes as long as half of typer

        typer.echo(f"atoll {version('atoll')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The options of `atoll` itself."""


ANALYST, DEPARTMENT, OPERATOR = "For analysts", "For departments", "For operators"

app.command(rich_help_panel="First")(demo.demo)
app.command(rich_help_panel=ANALYST)(query.query)
app.command(rich_help_panel=ANALYST)(query.explain)
app.command(rich_help_panel=ANALYST)(request.request)
app.command(rich_help_panel=ANALYST)(token.token)
app.command(rich_help_panel=ANALYST)(receipt.receipt)
agent.app.command()(untoken.untoken)
app.add_typer(agent.app, name="agent", rich_help_panel=DEPARTMENT)
app.add_typer(policy.app, name="policy", rich_help_panel=DEPARTMENT)
app.add_typer(grants.app, name="grants", rich_help_panel=DEPARTMENT)
app.add_typer(ledger.app, name="ledger", rich_help_panel=DEPARTMENT)
app.command(rich_help_panel=DEPARTMENT)(audit.audit)
app.command(rich_help_panel=DEPARTMENT)(materialise.materialise)
app.command(rich_help_panel=DEPARTMENT)(departments.register)
app.add_typer(departments.app, name="departments", rich_help_panel=OPERATOR)
app.add_typer(gateway.app, name="gateway", rich_help_panel=OPERATOR)
app.add_typer(keys.app, name="keys", rich_help_panel=OPERATOR)


def main() -> None:
    """Entry point of the installed command."""
    try:
        app(prog_name="atoll")
    except BrokenPipeError:
        # The reader (head, less) has had enough; the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
