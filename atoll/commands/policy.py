"""`atoll policy`: what a policy would show to whom, what a change changes, and the signatures of two owners."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atoll import render
from atoll.commands import common
from atoll.commands.common import JsonOption

if TYPE_CHECKING:
    from catalog.keys import SigningKey
    from catalog.policy import Bundle, Department

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="A policy before it is in force: test, diff, keygen, sign, verify, pin.")
FileArgument = Annotated[Path, typer.Argument(help="The department's department.yaml.")]
OwnersOption = Annotated[
    Path, typer.Option("--owners", envvar="ATOLL_OWNERS", help="Public keys of the owners, a JWK set.")
]


@app.command("test")
def matrix_of(file: FileArgument, as_json: JsonOption = False) -> None:
    """Run the policy's own tests, and print the matrix: who would see what of each table, for each purpose.

    Example: atoll policy test department.yaml

    `rows, 2 masked`: rows with two columns masked or absent. `sums >= 10`: counts and sums of at least ten.
    `yes/no`: one subject at a time. `-`: as if the table did not exist. Nothing is asked of the silo. Exit 1
    names every test of the file's `tests:` that does not hold; with such a test the agent takes no policy.
    """
    from atoll.commands.preview import matrix
    from catalog.policy import failures

    with _told(file):
        bundle, department = _read(file, tests=False)
    failed = [fault.text for fault in failures(department, bundle.files)]
    rows = matrix(department, file.resolve().parent)
    if as_json:
        cells = [dict(zip(department.purposes, row[2:], strict=True)) for row in rows]
        common.print_json(
            [{"relation": row[0], "user": row[1], "purposes": c} for row, c in zip(rows, cells, strict=True)]
        )
    else:
        console = common.out()
        console.print(render.listing(("table", "user", *department.purposes), rows, console.width))
    for text in failed:
        common.err().print(f"✗ {file}: {text}", style="red")
    if failed:
        raise typer.Exit(1)
    if department.tests and not as_json:
        common.err().print(f"✓ {len(department.tests)} tests of the policy hold", style="green")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The department.yaml before.")],
    new: Annotated[Path, typer.Argument(help="The department.yaml after.")],
    as_json: JsonOption = False,
) -> None:
    """Who gains and who loses what, in words: `+` gains, `-` loses, `~` sees otherwise.

    Example: atoll policy diff in-force/department.yaml department.yaml

    Decisions are compared, not texts, for every user that either file names and for `anyone` else, now and at
    every moment at which a grant begins or ends. What owner views select is not compared.
    """
    from catalog.policy import changes

    with _told(old):
        before = _read(old, tests=False)
    with _told(new):
        after = _read(new, tests=False)
    found = changes(before[1], after[1], datetime.now(UTC), (before[0].files, after[0].files))
    views = sorted(
        {n for b in (before[0], after[0]) for n in b.files if before[0].files.get(n) != after[0].files.get(n)}
    )
    if as_json:
        listed = [
            {"user": c.user, "relation": c.relation, "purposes": list(c.purposes), "kind": c.kind, "words": c.words,
             "since": c.since.isoformat() if c.since else None}
            for c in found
        ]  # fmt: skip
        common.print_json({"changes": listed, "files": views})
        return
    for change in found:
        style = {"gains": "yellow", "loses": "cyan"}.get(change.kind, "")
        common.out().print(str(change), style=style)
    for name in views:
        common.out().print(f"~ {name} is another file")
    if not found and not views:
        typer.echo("Nobody gains or loses anything.")


@app.command()
def keygen(
    key: Annotated[Path, typer.Argument(help="Where the private key goes; it must not exist yet.")],
    owners: Annotated[
        Path | None, typer.Option("--owners", help="Add the public key to this JWK set; made if it is missing.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an owner's key. Each owner makes one, alone, and keeps the file.

    Example: atoll policy keygen ana.key --owners owners.jwks

    What goes to the agent's operator is the set of public keys. Who holds two of the private ones alone
    changes a policy alone: keep them apart.
    """
    import orjson

    from catalog import keys

    if key.exists():
        raise typer.BadParameter(f"{key} exists already, and is not overwritten")
    listed: list[Any] = []
    if owners is not None and owners.exists():
        try:
            listed = list(orjson.loads(owners.read_bytes())["keys"])
        except (OSError, ValueError, KeyError, TypeError):
            raise typer.BadParameter(f"{owners} is no JWK set") from None
    public = keys.load_or_create(key).public_jwk
    if owners is not None:
        content = orjson.dumps({"keys": [*listed, public]}, option=orjson.OPT_INDENT_2)
        keys.replace_file(owners, content + b"\n", 0o644)
    if as_json:
        common.print_json(public)
    else:
        typer.echo(f"{key} signs as {public['kid']}")


@app.command()
def sign(
    file: FileArgument,
    key: Annotated[Path, typer.Option("--key", help="Your private key, see `atoll policy keygen`.")],
    second: Annotated[bool, typer.Option("--second", help="Add the second signature to a colleague's first.")] = False,
    number: Annotated[
        int, typer.Option("--number", min=0, help="The policy's number, if the one after that signed now is too small.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Sign a policy as it is now, under the next number; or add the second signature.

    Examples:

      atoll policy sign department.yaml --key ana.key

      atoll policy sign department.yaml --key ben.key --second

    Signed is every file that decides: department.yaml, views, lists, the identity provider's pinned keys. The
    signatures go to department.signed.json beside it. The policy's own tests must hold.
    """
    from catalog import keys
    from catalog.policy import countersigned, signed, signed_name

    with _told(file):
        bundle, department = _read(file)
        signer = _key(key)
        if second:
            content = countersigned(bundle, department.department, signer)
        else:
            content = signed(bundle, department.department, signer, number or None)
    target = file.with_name(signed_name(file.name))
    keys.replace_file(target, content, 0o644)
    import orjson

    number = orjson.loads(content)["manifest"]["number"]
    if as_json:
        common.print_json({"number": number, "signer": signer.kid, "files": sorted(bundle.digests)})
        return
    typer.echo(f"policy {number} of {department.department}, {len(bundle.digests)} files, signed as {signer.kid}")
    if not second:
        hint = f"Next, by another owner: atoll policy sign {file} --key KEY --second"
        common.err().print(hint, style="dim")


@app.command()
def verify(file: FileArgument, owners: OwnersOption, as_json: JsonOption = False) -> None:
    """Check that two of the owners signed the policy as it is now, as the agent would.

    Example: atoll policy verify department.yaml --owners owners.jwks
    """
    from catalog.policy import read_owners, verify_seal

    with _told(file):
        bundle, department = _read(file)
        seal = verify_seal(bundle, department.department, read_owners(owners))
    if as_json:
        common.print_json({"number": seal.number, "signers": list(seal.signers), "files": sorted(bundle.digests)})
    else:
        typer.echo(f"✓ policy {seal.number} of {department.department} is signed by {' and '.join(seal.signers)}")


@app.command()
def pin(file: FileArgument, owners: OwnersOption, as_json: JsonOption = False) -> None:
    """Pin other owners' keys in the agent's state: after one left, or lost a key. The operator's, on the agent's side.

    Example: atoll policy pin department.yaml --owners owners.jwks

    The newest policy number that was in force stays: no older policy comes back by this. Sign the policy anew
    with the new keys, and start the agent with the same --owners.
    """
    from catalog.policy import read_owners
    from connectors.agent.policy_file import repin

    with _told(file):
        _, department = _read(file)
        found = read_owners(owners)
        number = repin(file.resolve().parent / department.state, found)
    if as_json:
        common.print_json({"owners": sorted(found), "number": number})
    else:
        typer.echo(f"{len(found)} owners pinned; policies before number {number} stay refused")


def _read(file: Path, tests: bool = True) -> tuple[Bundle, Department]:
    from catalog.policy import from_bundle, read_bundle

    bundle = read_bundle(file.resolve())
    return bundle, from_bundle(bundle, tests)


def _key(path: Path) -> SigningKey:
    from catalog import keys

    return keys.load(path)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Faults of a policy or key as lines on stderr, and exit 1."""
    from catalog.keys import KeyFileError
    from catalog.policy import PolicyError

    try:
        yield
        return
    except PolicyError as bad:
        lines = bad.faults
    except KeyFileError as bad:
        lines = (str(bad),)
    except (OSError, UnicodeDecodeError):
        lines = ("the file cannot be read",)
    for line in lines:
        common.err().print(f"✗ {file}: {line}", style="red")
    raise typer.Exit(1)
