"""`atoll gateway`: the city's side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The city's side: serve.")


@app.callback()
def root() -> None:
    """Keeps `serve` a subcommand, so that more can follow."""


@app.command()
def serve(file: Annotated[Path, typer.Argument(help="gateway.yaml")] = Path("gateway.yaml")) -> None:
    """Serve the Trino protocol, REST and the page. Ctrl-C stops it.

    Example: atoll gateway serve gateway.yaml

    A gateway.yaml that opens the demo's door without passwords (identity.dev_login) is refused.
    """
    from gateway.server import serve as server

    raise typer.Exit(server.main([str(file)]))
