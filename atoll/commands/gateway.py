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
def serve(
    file: Annotated[Path, typer.Argument(help="gateway.yaml")] = Path("gateway.yaml"),
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="PEM file of the gateway's certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="PEM file of its key.")] = None,
    behind_tls_proxy: Annotated[
        bool, typer.Option("--behind-tls-proxy", help="Something in front ends TLS: plain HTTP may leave this machine.")
    ] = False,
) -> None:
    """Serve the Trino protocol, REST and the page. Ctrl-C stops it.

    Examples:

      atoll gateway serve gateway.yaml

      atoll gateway serve gateway.yaml --tls-cert gateway.pem --tls-key gateway.key

    A gateway.yaml that opens the demo's door without passwords (identity.dev_login) is refused, and so is plain
    HTTP on an address that other machines reach.
    """
    from catalog.imports import do_without
    from gateway.server import serve as server

    do_without("pandas")
    words = [str(file)]
    words += ["--tls-cert", str(tls_cert)] if tls_cert else []
    words += ["--tls-key", str(tls_key)] if tls_key else []
    words += ["--behind-tls-proxy"] if behind_tls_proxy else []
    raise typer.Exit(server.main(words))
