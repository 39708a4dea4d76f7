"""`atoll demo`: a whole city on this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


class Scale(StrEnum):
    """How much data the city has (small 60 MB, medium 2 GB, large 25 GB)."""

    small = "small"
    medium = "medium"
    large = "large"


def demo(
    dir: Annotated[Path, typer.Option("--dir", help="Where the city lives.")] = Path("city-data"),
    scale: Annotated[Scale, typer.Option(help="How much data.")] = Scale.small,
    seed: Annotated[int, typer.Option(help="Which city: same seed, same city.")] = 4499,
    years: Annotated[str, typer.Option(help="First and last year, such as 2014-2019.")] = "",
    dirt: Annotated[float, typer.Option(min=0, max=1, help="How dirty the data is.")] = 1.0,
    frauds: Annotated[int, typer.Option(min=0, max=1, help="0 leaves the frauds out.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The gateway's port; 0 takes a free one.")] = 8080,
    headless: Annotated[bool, typer.Option("--headless", help="Never open a browser.")] = False,
    only_data: Annotated[bool, typer.Option("--only-data", help="Make the data and stop.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Throw the old city in --dir away first.")] = False,
) -> None:
    """Start a city: six departments, six kinds of silo, a gateway, an identity provider.

    Examples:

      atoll demo

      atoll demo --dir /tmp/city --port 0 --headless

      atoll demo --only-data --scale medium --seed 7

    It needs no Docker, no Java, no database server and no account; PostgreSQL and MariaDB join in when they
    are installed. It asks the flagship question, prints the addresses once, then `ready URL`, and runs until
    Ctrl-C, which leaves nothing behind but the data. Logs: DIR/logs.
    """
    from atoll.demo.launch import Options, run

    options = Options(
        folder=dir,
        scale=scale.value,
        seed=seed,
        years=years,
        dirt=dirt,
        frauds=frauds,
        port=port,
        headless=headless,
        only_data=only_data,
        reset=reset,
    )
    raise typer.Exit(run(options))
