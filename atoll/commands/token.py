"""`atoll token`: a user's own token from the city's identity provider, to use as password or --token."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from atoll.commands import common
from atoll.commands.common import JsonOption, KeyOption
from catalog.errors import AccessDenied, CityError, DepartmentError, Outcome, UserError

if TYPE_CHECKING:
    from catalog.http import Response

__all__ = ["token"]


def token(
    user: Annotated[str, typer.Option("--user", "-u", envvar="ATOLL_USER", help="Who asks.")],
    issuer: Annotated[str, typer.Option("--issuer", envvar="ATOLL_ISSUER", help="Address of the identity provider.")],
    purpose: Annotated[str, typer.Option("--purpose", "-p", help="Check that the user holds it.")] = "",
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    dev_login: Annotated[bool, typer.Option("--dev-login", help="Use a demo's door without passwords.")] = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Get a token: good for an hour, for this city's gateway only.

    Examples:

      export ATOLL_TOKEN=$(atoll token --user lin --issuer http://127.0.0.1:8081)

      atoll token --user mei --purpose inspection --issuer http://127.0.0.1:8081 --dev-login

    The password comes from ATOLL_PASSWORD, from stdin, or is asked for. BI tools that know only passwords
    take the token as password. The purpose itself is chosen per query: with --purpose, or as session
    property or client tag.

    With --key or ATOLL_KEY the token is bound to a key of your own, made there if the file is missing: some
    departments answer only questions that it signed. Keep the file; nobody else needs it.
    """
    with common.reporting(as_json):
        base = issuer.rstrip("/")
        if dev_login:
            body = _post(f"{base}/dev-login", {"user": user}, key)
        else:
            body = _post(f"{base}/login", {"user": user, "password": _password(password_stdin)}, key)
        held = [str(p) for p in common.claims_of(str(body["access_token"])).get("purposes", [])]
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


def _bound(url: str, key: Path | None) -> dict[str, str]:
    """The header that binds the token to the user's own key. Raises CityError."""
    if key is None:
        return {}
    from catalog.identity import dpop_proof
    from catalog.keys import KeyFileError, load_or_create

    try:
        return {"DPoP": dpop_proof(load_or_create(key), "POST", url)}
    except (KeyFileError, OSError) as bad:
        raise UserError(f"Your key: {bad}.", who="atoll token", rule="key file") from None


def _post(url: str, body: dict[str, str], key: Path | None) -> dict[str, Any]:
    from catalog.http import Client, HTTPError

    headers = _bound(url, key)
    try:
        with Client(trust_env=not url.startswith("http://"), timeout=10) as http:
            answer = http.post(url, json=body, headers=headers)
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
