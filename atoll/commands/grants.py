"""`atoll grants`: the owner's side of access requests - what waits, what is granted, and her word on it.

An approval is a grant in the policy, dated, for one user and one purpose. Where two owners sign the policy it is
proposed in a folder of its own, and in force when both have signed that.
"""

from __future__ import annotations

import getpass
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from atoll import render
from atoll.commands import common
from atoll.commands.agent import load_department, owner_request
from atoll.commands.common import JsonOption
from catalog.errors import AccessDenied, DepartmentError, Outcome, UserError

if TYPE_CHECKING:
    from catalog.policy import Bundle, Decision, Department
    from connectors.agent.requests import Requests, Row

__all__ = ["app"]

app = typer.Typer(
    invoke_without_command=True,
    help="Requests for access to your tables, and grants: list, approve, decline, activate.",
)
FileOption = Annotated[
    Path, typer.Option("--file", "-f", envvar="ATOLL_DEPARTMENT", help="Your department.yaml.", show_envvar=True)
]
ByOption = Annotated[str, typer.Option("--by", help="Who decides; by default whoever runs this.")]
HERE = Path("department.yaml")
COLUMNS = ("state", "id", "who", "table", "purpose", "mode", "until", "reason")
BASE = "based-on"
"""In a proposal's folder: which policy, signed as it was, it was made from."""


class Mode(StrEnum):
    """What an approval can give. Raw values of a person take more than a request: such a grant is written by hand."""

    schema = "schema"
    synthetic = "synthetic"
    verify = "verify"
    aggregate = "aggregate"
    masked = "masked"


@app.callback()
def main(context: typer.Context, file: FileOption = HERE, as_json: JsonOption = False) -> None:
    """Without a command: the list."""
    if context.invoked_subcommand is None:
        list_grants(file, as_json)


@app.command("list")
def list_grants(file: FileOption = HERE, as_json: JsonOption = False) -> None:
    """What waits for your word, what is granted now or later, and what was: requests and grants in one list.

    Example: atoll grants list --file department.yaml

    `pending` waits for approve or decline; `approved` is not in force yet (unsigned) or was taken out again.
    """
    department = load_department(file)
    with common.reporting(as_json), _requests(file, department) as requests:
        lines = [*_request_lines(department, requests.all()), *_grant_lines(department)]
    lines.sort(key=lambda line: ORDER.index(line["state"]))
    if as_json:
        common.print_json(lines)
        return
    if not lines:
        typer.echo("Nothing was asked for, and nothing is granted.")
        return
    console = common.out()
    console.print(render.listing(COLUMNS, [[line[name] for name in COLUMNS] for line in lines], console.width))


ORDER = ("pending", "approved", "current", "later", "declined", "ended")


def _request_lines(department: Department, rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Requests that are no grant of the policy now; the others are in the list of grants."""
    from connectors.agent.requests import standing

    for row in rows:
        stands = standing(row, department, datetime.now(UTC))
        if not stands.grant:
            yield {
                "state": stands.state, "id": row.id, "who": row.sub, "table": row.relation, "purpose": row.purpose,
                "mode": ", ".join(row.columns), "until": row.until, "reason": row.note or row.reason,
                "project": row.project, "at": row.at, "by": row.decided_by,
            }  # fmt: skip


def _grant_lines(department: Department) -> Iterator[dict[str, Any]]:
    from catalog.policy import instant

    now, zone = datetime.now(UTC), ZoneInfo(department.limits.timezone)
    for grant in (g for g in department.grants if not g.is_denial):
        ends = sorted(department.ends(grant), key=lambda end: instant(end, zone, True))
        ended = bool(ends) and now >= instant(ends[0], zone, True)
        later = grant.from_ is not None and now < instant(grant.from_, zone, False)
        yield {
            "state": "ended" if ended else "later" if later else "current", "id": grant.id,
            "who": ", ".join((*grant.users, *grant.groups)) or "anyone", "table": grant.relation,
            "purpose": ", ".join(grant.purposes) or "any", "mode": grant.mode,
            "until": ends[0].isoformat() if ends else "", "reason": grant.legal_basis,
            "project": grant.project, "at": "", "by": grant.approver,
        }  # fmt: skip


# ---------------------------------------------------------------- approve


@app.command()
def approve(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The request, as `atoll grants` names it.")],
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day; by default the one that was asked for.")
    ] = None,
    mode: Annotated[Mode | None, typer.Option("--mode", help="What the grant lets the table answer.")] = None,
    columns: Annotated[str, typer.Option("--columns", help="Those granted, with commas between them.")] = "",
    mask: Annotated[list[str] | None, typer.Option("--mask", help="COLUMN=MASK, may be repeated.")] = None,
    like: Annotated[str, typer.Option("--like", help="Id of a grant of the same table: on its terms.")] = "",
    note: Annotated[str, typer.Option("--note", help="A word to the applicant.")] = "",
    by: ByOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the grant and what it would show; do nothing.")
    ] = False,
    file: FileOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Grant a request: one user, one table, one purpose, until a day.

    Examples:

      atoll grants approve 1f0c9a2e --until 2027-06-30 --columns ward,admitted

      atoll grants approve 1f0c9a2e --until 2027-06-30 --like research-counts

    Without --like it grants masked rows of the columns that were asked for; those tagged personal or special only
    if you name them in --columns, and then as null unless --mask says otherwise. The policy's own tests are run
    before anything is written. Where two owners sign, the new policy is laid in a folder beside the old one, for
    both to sign; `atoll grants activate` then puts it in force.
    """
    department = load_department(file)
    who = by or getpass.getuser()
    with common.reporting(as_json), _told(file):
        terms = _Terms(mode, _names(columns), _masks(mask or []), like)
        with _requests(file, department) as requests:
            row = _open_row(requests, department, id_, who)
        made = _made(file, department, row, terms, until.date() if until else None, who)
        if not dry_run:
            _decide(file, department, row, "approved", who, note)
            made = made.kept(file)
    if as_json:
        common.print_json(made.body())
    else:
        made.say(file, dry_run)


@dataclass(frozen=True)
class _Terms:
    """What the owner said of the grant. columns, masks: empty = as was asked for, or as `like` has it."""

    mode: Mode | None
    columns: tuple[str, ...]
    masks: Mapping[str, str]
    like: str


@dataclass(frozen=True)
class _Made:
    """A new policy that holds. words: what the applicant would see. left_out: personal columns that were not granted.

    held: grants that the applicant has already. proposal: the folder in which it waits for signatures, None where it
    is in force.
    """

    row: Row
    grant: dict[str, Any]
    old: Bundle
    text: str
    signed: bool
    words: str
    left_out: tuple[str, ...]
    held: tuple[str, ...]
    proposal: Path | None = None

    def kept(self, file: Path) -> _Made:
        """Write it: into the policy, or where owners sign it. Raises UserError, OSError."""
        from dataclasses import replace

        if self.signed:
            return replace(self, proposal=_propose(file, self))
        _unchanged(file, self.old)
        _replace({file: self.text.encode()})
        return self

    def body(self) -> dict[str, Any]:
        grant = {key: value.isoformat() if isinstance(value, date) else value for key, value in self.grant.items()}
        where = str(self.proposal) if self.proposal else None
        return {"request": self.row.id, "grant": grant, "shows": self.words, "proposal": where}

    def say(self, file: Path, dry_run: bool) -> None:
        seen = "would see" if dry_run else "is granted"
        typer.echo(f"{render.visible(self.row.sub)} {seen} {self.row.relation} for {self.row.purpose} until "
                   f"{self.grant['until']}: {self.words}")  # fmt: skip
        for name in self.left_out:
            common.err().print(
                f"! {name} is personal or special and was left out: --columns with it, and --mask {name}=.. grant it",
                style="yellow",
            )
        if self.held:
            common.err().print(
                f"! {render.visible(self.row.sub)} holds {', '.join(self.held)} for that: of several grants the "
                "strictest holds",
                style="yellow",
            )
        if dry_run:
            typer.echo(render.visible_lines(_shown(self.grant)).plain)
        elif self.proposal:
            common.err().print(f"Two owners sign it, then it is in force:\n{_steps(file, self)}", style="dim")


def _shown(grant: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump([grant], sort_keys=False, allow_unicode=True, default_flow_style=None).rstrip()


def _steps(file: Path, made: _Made) -> str:
    new = f"{made.proposal}/{file.name}"
    return (
        f"  atoll policy diff {file} {new}\n  atoll policy sign {new} --key KEY\n"
        f"  atoll policy sign {new} --key KEY --second\n  atoll grants activate {made.row.id} --file {file}"
    )


def _open_row(requests: Requests, department: Department, id_: str, who: str) -> Row:
    """The request, if it can be granted now. Raises UserError."""
    from connectors.agent.requests import grant_name

    row = requests.find(id_)
    if row.sub.strip().casefold() == who.strip().casefold():
        raise AccessDenied(
            "Nobody approves a request of their own.", Outcome.MODE, who=department.department, rule="approver",
            hint="Another owner does, with --by.",
        )  # fmt: skip
    granted = any(g.id == grant_name(id_) for g in department.grants)
    if row.state == "declined" or granted:
        raise UserError(
            f"Request {id_} was {'granted' if granted else 'declined'} on {row.decided_at[:10]}.",
            who=department.department, rule="requests",
            hint="Change the grant itself in department.yaml." if granted else "It can be filed anew.",
        )  # fmt: skip
    return row


def _made(file: Path, department: Department, row: Row, terms: _Terms, until: date | None, who: str) -> _Made:
    """The new policy, checked whole, its tests run. Raises PolicyError, UserError, OSError."""
    from catalog.policy import decide, dry_context, parse, read_bundle, shown_masks, with_grant, words_of

    bundle = read_bundle(file.resolve())
    signed = _is_signed(file, department, bundle)
    grant, left_out = _grant(bundle, department, row, terms, until, who)
    text = with_grant(bundle.text, grant, f"asked for by {row.sub} on {row.at[:10]}: {row.reason[:120]}")
    new = parse(text, bundle.files)
    now = _moment(department, grant)
    before = decide(department, row.sub, row.purpose, row.relation, now)
    decision = decide(new, row.sub, row.purpose, row.relation, now)
    if decision is None:
        raise UserError(
            f"{row.sub} would still see nothing of {row.relation} for {row.purpose}.", who=department.department,
            rule="strictest wins", hint="A denial, or another grant, stands against it: look at `atoll grants list`.",
        )  # fmt: skip
    return _Made(
        row, grant, bundle, text, signed,
        _words(new, decision, words_of(decision, shown_masks(new, decision, dry_context(new, bundle.files)))), left_out,
        before.ids if before is not None else (),
    )  # fmt: skip


def _moment(department: Department, grant: dict[str, Any]) -> datetime:
    """Now, or when today's hours of the grant begin."""
    from catalog.policy import opening

    zone = ZoneInfo(department.limits.timezone)
    hours = grant.get("hours")
    return datetime.combine(grant["from"], opening(hours)[0], zone) if hours else datetime.now(UTC)


def _words(department: Department, decision: Decision, words: str) -> str:
    if decision.mode.name == "aggregate":
        guarded = decision.guard or decision.base_cells
        return words if guarded else f"{words}, NOT guarded against differences: {decision.unguarded}"
    every = len(decision.columns) == len(department.relations[decision.relation].columns)
    return words if every else f"{words}; columns {', '.join(decision.columns)}"


def _grant(
    bundle: Bundle, department: Department, row: Row, terms: _Terms, until: date | None, who: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The grant as it will stand in the file, and the personal columns that it leaves out. Raises UserError."""
    from connectors.agent.requests import grant_name

    today = datetime.now(ZoneInfo(department.limits.timezone)).date()
    end = until or (date.fromisoformat(row.until) if row.until else None)
    if end is None or end < today:
        raise UserError(
            "A grant ends on a day that is still to come." if end else "No end was asked for: say --until.",
            who=department.department, rule="until", hint="--until 2027-06-30",
        )  # fmt: skip
    if row.relation not in department.relations:
        raise UserError(
            f"You have no table {row.relation}.", who=department.department, rule="requests",
            hint=f"atoll grants decline {row.id} --reason ..",
        )  # fmt: skip
    given, left_out = _like(bundle, department, row, terms) if terms.like else _plain(department, row, terms)
    head = {"id": grant_name(row.id), "relation": row.relation, "purposes": [row.purpose], "users": [row.sub]}
    tail: dict[str, Any] = {"from": today, "until": end, "approver": who}
    return {**head, **given, **tail, **({"project": row.project} if row.project else {})}, left_out


_OWN = ("id", "relation", "purposes", "users", "groups", "from", "until", "approver", "legal_basis", "requester",
        "second_approver", "case", "project", "delegate", "via", "by", "combine")  # fmt: skip
"""What a grant does not take over from the one that it is like: who, for what, how long, on whose word."""


def _like(bundle: Bundle, department: Department, row: Row, terms: _Terms) -> tuple[dict[str, Any], tuple[str, ...]]:
    from catalog.policy import nearest
    from catalog.policy.yaml_lines import read_yaml

    listed = read_yaml(bundle.text)[0].get("grants") or []
    found = next((g for g in listed if g.get("id") == terms.like and g.get("relation") == row.relation), None)
    if found is None or found.get("deny"):
        known = [g.id for g in department.grants if g.id and g.relation == row.relation and not g.is_denial]
        raise UserError(
            f"{row.relation} has no grant {terms.like}{nearest(terms.like, known)}", who=department.department,
            rule="--like", hint=f"It has: {', '.join(known) or 'none'}.",
        )  # fmt: skip
    if found.get("via"):
        raise UserError(
            f"{terms.like} was given on from {found['via']}, and shows what both allow.", who=department.department,
            rule="--like", hint=f"--like {found['via']} takes over what its owner said.",
        )  # fmt: skip
    given = {key: value for key, value in found.items() if key not in _OWN}
    given["mode"] = "masked" if given["mode"] == "open" else given["mode"]
    if given["mode"] == "raw" or (terms.mode is not None and terms.mode.value != given["mode"]):
        raise UserError(
            f"{terms.like} is of mode {given['mode']}.", who=department.department, rule="--like",
            hint="A grant of mode raw is written by hand." if given["mode"] == "raw" else "Leave --mode out.",
        )  # fmt: skip
    own = next(g.columns for g in department.grants if g.id == terms.like)
    beyond = [c for c in terms.columns if own and c not in own]
    if beyond:
        raise UserError(
            f"{terms.like} does not show {', '.join(beyond)}.", who=department.department, rule="--like",
            hint=f"It shows {', '.join(own)}; without --like an approval is on terms of its own.",
        )  # fmt: skip
    if terms.columns:
        given["columns"] = list(terms.columns)
        given["masks"] = {c: text for c, text in given.get("masks", {}).items() if c in terms.columns}
    given["masks"] = {**given.get("masks", {}), **terms.masks}
    return {key: value for key, value in given.items() if value != {}}, ()


def _plain(department: Department, row: Row, terms: _Terms) -> tuple[dict[str, Any], tuple[str, ...]]:
    spec = department.relations[row.relation]
    mode = terms.mode or Mode.masked
    named = terms.columns or row.columns or tuple(spec.columns)
    if mode in (Mode.aggregate, Mode.verify):
        raise UserError(
            f"Mode {mode} needs more than a request says.", who=department.department, rule="--mode",
            hint="--like GRANT takes the terms of a grant of this table; or write the grant by hand.",
        )  # fmt: skip
    if mode in (Mode.schema, Mode.synthetic):
        return {"mode": mode.value, "columns": list(named)}, ()
    personal = [c for c in named if c in spec.columns and (spec.columns[c].personal or spec.columns[c].special)]
    left_out = () if terms.columns else tuple(c for c in personal if c not in terms.masks)
    granted = [c for c in named if c not in left_out]
    masks = {c: "null" for c in personal if c in granted} | dict(terms.masks)
    return {"mode": mode.value, "columns": granted, **({"masks": masks} if masks else {})}, left_out


# ---------------------------------------------------------------- decline, activate


@app.command()
def decline(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The request, as `atoll grants` names it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; the applicant reads it.")],
    by: ByOption = "",
    file: FileOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Decline a request, or take back an approval that is not in force yet. The applicant sees that, and why.

    Example: atoll grants decline 1f0c9a2e --reason "the counts by ward answer this"
    """
    department = load_department(file)
    with common.reporting(as_json):
        with _requests(file, department) as requests:
            row = requests.find(id_)
        found = _decide(file, department, row, "declined", by or getpass.getuser(), reason)
        if (proposal := _proposal(file, id_)).is_dir():
            shutil.rmtree(proposal)
    if as_json:
        common.print_json(found)
    else:
        typer.echo(f"Request {id_} of {render.visible(row.sub)} for {row.relation} is declined.")


@app.command()
def activate(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The request whose proposal both owners signed.")],
    owners: Annotated[
        Path | None,
        typer.Option("--owners", envvar="ATOLL_OWNERS", help="Public keys of the owners, if none are pinned."),
    ] = None,
    file: FileOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Put a proposed policy in force, once two owners have signed it.

    Example: atoll grants activate 1f0c9a2e --file department.yaml
    """
    from catalog.policy import from_bundle, read_bundle, read_owners, signed_name, verify_seal
    from connectors.agent.policy_file import pinned

    department = load_department(file)
    folder = _proposal(file, id_)
    with common.reporting(as_json), _told(file):
        if not (folder / file.name).is_file():
            raise UserError(
                f"There is no proposal {folder}.", who=department.department, rule="proposal",
                hint=f"atoll grants approve {id_} makes one.",
            )  # fmt: skip
        with _requests(file, department) as requests:
            if (state := requests.find(id_).state) != "approved":
                raise UserError(f"Request {id_} is {state}.", who=department.department, rule="requests")
        known = read_owners(owners) if owners else pinned(file.resolve().parent / department.state)
        if not known:
            raise UserError(
                "No owners are pinned, so nobody's signature counts.",
                who=department.department,
                rule="owners",
                hint="Name their public keys: --owners owners.jwks",
            )
        bundle = read_bundle(folder / file.name)
        seal = verify_seal(bundle, from_bundle(bundle).department, known)
        if (folder / BASE).read_text() != _identity(read_bundle(file.resolve())):
            raise UserError(
                f"{file} has changed since this was proposed.", who=department.department, rule="proposal",
                hint=f"Remove {folder}, and approve again.",
            )  # fmt: skip
        assert bundle.signed is not None
        _replace({file.with_name(signed_name(file.name)): bundle.signed, file: bundle.text.encode()})
        shutil.rmtree(folder)
    if as_json:
        common.print_json({"request": id_, "number": seal.number, "signers": list(seal.signers)})
    else:
        typer.echo(
            f"policy {seal.number} of {department.department} is in place, signed by {' and '.join(seal.signers)}"
        )


# ---------------------------------------------------------------- where things lie


@contextmanager
def _requests(file: Path, department: Department) -> Iterator[Requests]:
    """The department's requests, in its agent's state folder. Raises UserError before its first start."""
    from connectors.agent.requests import Requests

    state = file.resolve().parent / department.state
    if not state.is_dir():
        raise UserError(
            "This department's agent never ran, so nobody has asked.", who=department.department, rule="state",
            hint=f"Start it with: atoll agent serve {file}",
        )  # fmt: skip
    try:
        requests = Requests(state / "requests.db", department.department)
    except (OSError, sqlite3.Error) as bad:
        raise UserError(
            "The requests cannot be read.",
            who=department.department,
            rule="state",
            hint="Run this as the user that the agent runs as.",
        ) from bad
    try:
        yield requests
    finally:
        requests.close()


def _decide(file: Path, department: Department, row: Row, decision: str, who: str, note: str) -> dict[str, Any]:
    """Put the owner's word on record: by the running agent, at its own door, or here if it does not run."""
    if row.state == decision == "approved":  # said before; only the policy is still without it
        return asdict(row)
    body = {"decision": decision, "by": who, "note": note}
    if department.owner_listen:
        try:
            found: dict[str, Any] = owner_request(file, department, "POST", f"/owner/requests/{row.id}", body)
            return found
        except DepartmentError as down:
            if down.outcome is not Outcome.DOWN:
                raise
    return _decide_here(file, department, row, decision, who, note)


def _decide_here(file: Path, department: Department, row: Row, decision: str, who: str, note: str) -> dict[str, Any]:
    from catalog.keys import KeyFileError, KeyRing
    from catalog.ledger import Ledger, LedgerError
    from connectors.agent.requests import Decided, grant_name

    state = file.resolve().parent / department.state
    try:
        ledger = Ledger(state / "ledger.jsonl", KeyRing(state / "ledger.key"))
        try:
            with _requests(file, department) as requests:
                granted = any(g.id == grant_name(row.id) for g in department.grants)
                return asdict(requests.decide(row.id, Decided(decision, who, note), ledger.append, granted))
        finally:
            ledger.close()
    except (LedgerError, KeyFileError) as bad:
        raise UserError(
            "The department's ledger cannot be written, so nothing is decided.", who=department.department,
            rule="ledger", hint="Give a running agent `owner_listen`, and start it again.",
        ) from bad  # fmt: skip


def _is_signed(file: Path, department: Department, bundle: Bundle) -> bool:
    """Whether owners sign this policy. Raises PolicyError where they are pinned and did not sign what lies here.

    A proposal differs from it by one grant, and that is all that its signers are shown.
    """
    from catalog.policy import verify_seal
    from connectors.agent.policy_file import pinned

    owners = pinned(file.resolve().parent / department.state)
    if owners:
        verify_seal(bundle, department.department, owners)
    return bundle.signed is not None or bool(owners)


def _proposal(file: Path, id_: str) -> Path:
    """Beside the policy's own folder, so that every path in it leads to the same place."""
    from connectors.agent.requests import grant_name

    home = file.resolve().parent
    return home.with_name(f"{home.name}.{grant_name(id_)}")


def _propose(file: Path, made: _Made) -> Path:
    """A folder with the new department.yaml; all that belongs to it is a link to what is in force."""
    from catalog.policy import signed_name

    folder, home = _proposal(file, made.row.id), file.resolve().parent
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise UserError(
            f"There is a proposal already: {folder}.", who="atoll", rule="proposal", hint="Sign it, or remove it first."
        ) from None
    for name in (n for n in made.old.digests if n != file.name and not n.startswith(("/", ".."))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(home / name)
    (folder / file.name).write_text(made.text, encoding="utf-8")
    (folder / BASE).write_text(_identity(made.old))
    if made.old.signed is not None:
        (folder / signed_name(file.name)).write_bytes(made.old.signed)
    return Path(os.path.normpath(file.parent / ".." / folder.name))


def _identity(policy: Bundle) -> str:
    """Of a policy and its signatures: the same text signed anew has another number, and no older one is taken then."""
    from catalog.exchange import sha256

    return sha256(f"{sha256(policy.text)} {sha256(policy.signed or b'')}")


def _unchanged(file: Path, old: Bundle) -> None:
    """Raises UserError if somebody wrote the policy since it was read."""
    if file.read_bytes() != old.text.encode():
        raise UserError(
            f"{file} was changed meanwhile; nothing was written.", who="atoll", rule="policy", hint="Approve again."
        )


def _replace(contents: Mapping[Path, bytes]) -> None:
    """Put new contents in place of the old, with the same modes: of several files at once, as far as that can be.

    The agent may look at any moment, and a policy beside another one's signatures closes it.
    """
    from catalog.files import sync_folder

    written: list[tuple[str, Path]] = []
    try:
        for file, content in contents.items():
            target = file.resolve()
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            written.append((name, target))
            with os.fdopen(handle, "wb") as out:
                os.fchmod(out.fileno(), target.stat().st_mode & 0o777 if target.exists() else 0o644)
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
        for name, target in written:
            os.replace(name, target)
    except OSError:
        for name, _ in written:
            Path(name).unlink(missing_ok=True)
        raise
    sync_folder(written[0][1].parent)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _masks(entries: list[str]) -> dict[str, str]:
    found = {}
    for entry in entries:
        name, sign, mask = entry.partition("=")
        if not sign or not name.strip() or not mask.strip():
            raise typer.BadParameter(f"{entry!r} is not of the form COLUMN=MASK")
        found[name.strip()] = mask.strip()
    return found


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Faults of a policy as a refusal with its lines; nothing was written."""
    from catalog.policy import PolicyError

    try:
        yield
    except PolicyError as bad:
        raise UserError(
            f"The policy would not be taken: {'; '.join(bad.faults)}", who=str(file), rule=bad.reason,
            hint="Nothing was written.",
        ) from None  # fmt: skip
    except (OSError, UnicodeDecodeError) as bad:
        raise UserError(f"{file} cannot be read or written.", who=str(file), rule="files") from bad
