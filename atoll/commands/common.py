"""What all commands share: options with the same name and meaning, consoles, exit codes.

Exit 0: done. Exit 1: refused or failed, one clear line on stderr (and `{"error": ..}` on stdout with
`--json`). Exit 2: the command was used wrongly.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from atoll import render
from catalog.errors import CityError, UserError

__all__ = [
    "JsonOption",
    "KeyOption",
    "PurposeOption",
    "TokenOption",
    "UrlOption",
    "UserOption",
    "err",
    "out",
    "print_json",
    "reporting",
]

DEFAULT_URL = "http://127.0.0.1:8080"

UrlOption = Annotated[str, typer.Option("--url", envvar="ATOLL_URL", help="Address of the gateway.", show_envvar=True)]
UserOption = Annotated[str, typer.Option("--user", "-u", envvar="ATOLL_USER", help="A demo user's name, such as lin.")]
TokenOption = Annotated[str, typer.Option("--token", envvar="ATOLL_TOKEN", help="Your token (`atoll token` gets one).")]
PurposeOption = Annotated[
    str, typer.Option("--purpose", "-p", envvar="ATOLL_PURPOSE", help="Which of your purposes you ask for.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", envvar="ATOLL_KEY", help="File of your own signing key: some departments ask for it."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with JSON on stdout.")]


def out() -> Console:
    """The console for answers. Piped output is not folded: no terminal, no width."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return Console(highlight=False, emoji=False, markup=False)
    return Console(highlight=False, emoji=False, markup=False, width=100_000)


def err() -> Console:
    """The console for everything that is no answer."""
    return Console(stderr=True, highlight=False, emoji=False, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """A value as indented JSON on stdout."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def print_json_list(values: Iterable[Any]) -> None:
    """Values as one JSON list on stdout, one a line, each as it comes: however many, none is kept."""
    begin = "[\n"
    for value in values:
        sys.stdout.write(begin + orjson.dumps(value).decode())
        begin = ",\n"
    sys.stdout.write("[]\n" if begin == "[\n" else "\n]\n")


@contextmanager
def reporting(as_json: bool = False, sql: str = "") -> Iterator[None]:
    """Turn a CityError into its lines and exit status 1. sql: the statement, for the caret."""
    try:
        yield
    except CityError as error:
        if as_json:
            print_json({"error": error.to_dict()})
        render.print_error(err(), error, sql)
        raise typer.Exit(1) from None


def read_sql(sql: str | None, file: Path | None) -> str:
    """The statement from the argument, a file, or stdin (`-`). Raises BadParameter for none or two."""
    if (sql is None) == (file is None):
        raise typer.BadParameter('give one statement: atoll query "SELECT ..", --file q.sql, or - for stdin')
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as bad:
            raise typer.BadParameter(f"{file} cannot be read as text") from bad
    return sys.stdin.read() if sql == "-" else str(sql)


def require_login(user: str, token: str) -> None:
    """Raises BadParameter unless a name or a token was given."""
    if not user and not token:
        raise typer.BadParameter(
            "say who asks: --user NAME at a demo (lin, chen, bi, ..), --token TOKEN elsewhere; "
            "ATOLL_USER or ATOLL_TOKEN keep it"
        )


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, read and not verified: the gateway and the agents do that. {} for no token."""
    try:
        payload = token.split(".")[1]
        found = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def signed_question(sql: str, purpose: str, token: str, key: Path | None) -> dict[str, str]:
    """The header that proves the question to be the user's own; {} without a key that the token is bound to.

    purpose: "" = the user's only one. Raises CityError for a key file that cannot be read.
    """
    claims = claims_of(token)
    bound = claims.get("cnf", {}).get("jkt") if isinstance(claims.get("cnf"), dict) else None
    if key is None or not bound:
        return {}
    from catalog.keys import KeyFileError, load
    from catalog.question import HEADER, sign_question

    try:
        own = load(key)
    except KeyFileError as bad:
        raise UserError(f"Your key: {bad}.", who="atoll", rule="key file") from None
    held = claims.get("purposes", [])
    meant = purpose or (held[0] if isinstance(held, list) and len(held) == 1 else "")
    # A token for another key proves nothing with this one.
    return {HEADER: sign_question(own, sql, str(meant))} if own.kid == bound else {}
