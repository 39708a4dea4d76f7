"""`atoll token`: a user's own token from the city's identity provider, to use as password or --token."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import orjson
import typer

from atoll.commands import common
from atoll.commands.common import JsonOption
from catalog.errors import AccessDenied, CityError, DepartmentError, Outcome
from catalog.http import Client, HTTPError, Response

__all__ = ["token"]


def token(
    user: Annotated[str, typer.Option("--user", "-u", envvar="ATOLL_USER", help="Who asks.")],
    issuer: Annotated[str, typer.Option("--issuer", envvar="ATOLL_ISSUER", help="Address of the identity provider.")],
    purpose: Annotated[str, typer.Option("--purpose", "-p", help="Check that the user holds it.")] = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    dev_login: Annotated[bool, typer.Option("--dev-login", help="Use a demo's door without passwords.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Get a token: good for an hour, for this city's gateway only.

    Examples:

      export ATOLL_TOKEN=$(atoll token --user lin --issuer http://127.0.0.1:8081)

      atoll token --user mei --purpose inspection --issuer http://127.0.0.1:8081 --dev-login

    The password comes from ATOLL_PASSWORD, from stdin, or is asked for. BI tools that know only passwords
    take the token as password. The purpose itself is chosen per query: with --purpose, or as session
    property or client tag.
    """
    with common.reporting(as_json):
        if dev_login:
            body = _post(f"{issuer.rstrip('/')}/dev-login", {"user": user})
        else:
            body = _post(f"{issuer.rstrip('/')}/login", {"user": user, "password": _password(password_stdin)})
        held = _purposes(str(body["access_token"]))
        if purpose and purpose not in held:
            raise AccessDenied(
                f"{user} does not hold the purpose {purpose}.",
                Outcome.PURPOSE,
                who="identity provider",
                rule="purpose",
                hint=f"Held: {', '.join(held)}." if held else "This user holds no purpose.",
            )
        if as_json:
            common.print_json({"token": body["access_token"], "expires_in": body["expires_in"], "purposes": held})
        else:
            typer.echo(body["access_token"])
            common.err().print(f"good for {int(body['expires_in']) // 60} minutes · {_held(user, held)}", style="dim")


def _held(user: str, held: list[str]) -> str:
    return f"{user} holds {', '.join(held)}" if held else f"{user} holds no purpose"


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return os.environ.get("ATOLL_PASSWORD") or str(typer.prompt("Password", hide_input=True, err=True))


def _post(url: str, body: dict[str, str]) -> dict[str, Any]:
    try:
        with Client(trust_env=not url.startswith("http://"), timeout=10) as http:
            answer = http.post(url, json=body)
    except HTTPError:
        raise DepartmentError(
            "The identity provider does not answer.",
            Outcome.DOWN,
            who="identity provider",
            rule="connection",
            hint="Name its address with --issuer or ATOLL_ISSUER; `atoll demo` prints it.",
        ) from None
    if answer.status_code != 200:
        raise _refusal(answer)
    return dict(orjson.loads(answer.content))


def _refusal(answer: Response) -> CityError:
    try:
        text = str(orjson.loads(answer.content)["error_description"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        text = f"It answered with status {answer.status_code}."
    return AccessDenied(text, Outcome.AUTH, who="identity provider", rule="login")


def _purposes(token: str) -> list[str]:
    """The purposes that a token names, read and not verified: the gateway and the agents do that."""
    import base64

    payload = token.split(".")[1]
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return [str(p) for p in claims.get("purposes", [])]
