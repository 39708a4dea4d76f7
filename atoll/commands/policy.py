"""`atoll policy`: what a department's policy would show to whom, before it is in force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atoll import render
from atoll.commands import common
from atoll.commands.agent import load_department
from atoll.commands.common import JsonOption

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look at a policy before it is in force: test.")


@app.callback()
def root() -> None:
    """Keeps `test` a subcommand, so that more can follow."""


@app.command("test")
def matrix_of(
    file: Annotated[Path, typer.Argument(help="The department's department.yaml.")], as_json: JsonOption = False
) -> None:
    """The matrix: who would see what of each table, for each purpose.

    Example: atoll policy test department.yaml

    `rows, 2 masked`: rows with two columns masked or absent. `sums >= 10`: counts and sums of at least ten.
    `yes/no`: one subject at a time. `-`: as if the table did not exist. Nothing is asked of the silo.
    """
    from atoll.commands.preview import matrix

    department = load_department(file)
    rows = matrix(department, file.resolve().parent)
    if as_json:
        cells = [dict(zip(department.purposes, row[2:], strict=True)) for row in rows]
        common.print_json(
            [{"relation": row[0], "user": row[1], "purposes": c} for row, c in zip(rows, cells, strict=True)]
        )
        return
    console = common.out()
    console.print(render.listing(("table", "user", *department.purposes), rows, console.width))
