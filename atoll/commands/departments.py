"""`atoll register` and `atoll departments`: who belongs to the city."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atoll import render
from atoll.commands import common
from atoll.commands.client import Gateway
from atoll.commands.common import DEFAULT_URL, JsonOption, PurposeOption, TokenOption, UrlOption, UserOption

__all__ = ["app", "register"]

app = typer.Typer(no_args_is_help=True, help="List, approve and suspend departments.")
COLUMNS = ("name", "title", "state", "relations", "custodian", "contact")


@app.command("list")
def list_departments(
    url: UrlOption = DEFAULT_URL,
    user: UserOption = "",
    token: TokenOption = "",
    purpose: PurposeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Every department, its state, and how many of its tables you may see. Never waits for a dead one.

    Example: atoll departments list --user lin
    """
    common.require_login(user, token)
    with common.reporting(as_json), Gateway(url, user, token) as gateway:
        found = gateway.departments(purpose)
    if as_json:
        common.print_json(found)
        return
    rows = [[d.get(name) for name in COLUMNS] for d in found]
    console = common.out()
    console.print(render.listing(COLUMNS, rows, console.width))


@app.command()
def approve(
    name: Annotated[str, typer.Argument(help="The department's name.")],
    url: UrlOption = DEFAULT_URL,
    user: UserOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a registered department be asked. Example: atoll departments approve hospital

    Shows what it registered: compare the name of its key with its owner by another way than the one it came.
    """
    _change(name, "approved", url, user, token, as_json)


@app.command()
def suspend(
    name: Annotated[str, typer.Argument(help="The department's name.")],
    url: UrlOption = DEFAULT_URL,
    user: UserOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Stop asking a department; `approve` undoes it. Example: atoll departments suspend hospital"""
    _change(name, "suspended", url, user, token, as_json)


def _change(name: str, state: str, url: str, user: str, token: str, as_json: bool) -> None:
    with common.reporting(as_json), Gateway(url, user, token) as gateway:
        found = gateway.change_department(name, {"state": state})
    if as_json:
        common.print_json(found)
    else:
        typer.echo(f"{name} is {state}.")
    if not as_json and state == "approved" and found.get("url"):
        typer.echo(f"{found.get('title') or name}, asked at {found['url']}; receipts signed by {found.get('key')}")


def register(
    file: Annotated[Path, typer.Argument(help="The department's department.yaml.")],
    url: Annotated[str, typer.Option("--gateway", "--url", envvar="ATOLL_URL", help="The gateway.")] = DEFAULT_URL,
    address: Annotated[
        str, typer.Option("--address", help="How the gateway reaches the agent, if not as `listen` says.")
    ] = "",
    user: UserOption = "",
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a department known to a gateway. It is asked only after `atoll departments approve`.

    Example: atoll register department.yaml --gateway http://127.0.0.1:8080

    Sent are its name, title, address, the public keys of its receipts and its certificates; nothing of its
    tables or grants. After `atoll keys rotate` run it again: the old key signs for the new one.
    """
    from atoll.commands.agent import load_department
    from atoll.commands.keys import registration

    department = load_department(file)
    with common.reporting(as_json), Gateway(url, user, token) as gateway:
        found = gateway.register(registration(file, department, address))
    if as_json:
        common.print_json(found)
        return
    state = str(found.get("state", "pending"))
    typer.echo(f"{department.department} is registered at {url}: {state}.")
    if state != "approved":
        typer.echo(f"Next, by the gateway's operator: atoll departments approve {department.department}")
