"""department.yaml: what one department serves, to whom, for which purpose, how masked, how much.

`Department` is the file; `decide` turns it, a user and a purpose into a `Decision` per relation. It is
a pure function: same policy, same question, same answer. Everything unknown is an error when the file
is loaded; everything not granted is a denial when a query comes.

    load(path) -> Department             reads and checks a file; PolicyError lists every fault in words
    decide(department, question) -> Decision | None
    purposes_for(department, sub, purposes, relation, now) -> those of the user's own that have a grant
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from catalog import masks
from catalog.exchange import canonical_json, sha256
from catalog.names import PlainName
from catalog.relation import Mode, TypeText

__all__ = [
    "ColumnSpec",
    "Decision",
    "Department",
    "Grant",
    "Identity",
    "Limits",
    "LinkageGroup",
    "PolicyError",
    "RelationSpec",
    "check",
    "decide",
    "digest",
    "load",
    "opening",
    "parse",
    "purposes_for",
    "read_hierarchy",
]

GrantMode = Literal["none", "schema", "verify", "aggregate", "masked", "raw", "open"]
DEFAULT_MIN_GROUP = 10
DEFAULT_PER_DAY = 200
DEFAULT_PER_SUBJECT = 5
RAW_DAYS = 30
_AGGREGATE_ONLY = (
    "min_group", "entity", "dimensions", "measures", "largest_share", "round_to", "guard", "public",
)  # fmt: skip


class PolicyError(ValueError):
    """A department.yaml that may not be used. `faults`: one sentence each, with the place in the file."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            known |= set(cls.model_fields)
            for key in data:
                if key not in known:
                    raise ValueError(f"unknown key {key!r}{_nearest(str(key), known)}")
        return data


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else ""


class ColumnSpec(_Model):
    """One published column: `org_no: varchar(18)` or `org_no: {type: varchar(18), from: ORG-NO, ..}`.

    from_: raw name, if it differs from the published one. personal/special: tags for the owner's review.
    codes: name of a public code list, whose empty cells a suppressed answer counts against.
    """

    type: TypeText
    from_: str = Field(default="", alias="from")
    comment: str = ""
    unit: str = ""
    concept: str = ""
    personal: bool = False
    special: bool = False
    codes: str = ""


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class RelationSpec(_Model):
    """A governed relation: a table of a source, or an owner view.

    table: raw table name. view: name of the file `views/<view>.<source kind>.sql`, or
    `views/<view>.sql`, beside department.yaml. Exactly one of the two.
    listed: an ungranted user may learn its name and comment from `atoll request`.
    freshness: ISO-8601 duration or words, shown. rows: published row count.
    """

    source: PlainName = "main"
    table: str = ""
    view: str = ""
    comment: str = ""
    columns: dict[PlainName, Annotated[ColumnSpec, BeforeValidator(_column)]]
    listed: bool = False
    rows: int | None = None


class Grant(_Model):
    """Who may ask what of a relation, for which purposes, in which mode, through which masks.

    users: exact subjects, empty = everyone to whom the identity provider gives the purpose.
    `mode: open` is shorthand for `masked` under every purpose of the vocabulary.
    columns: published columns granted, empty = all. masks: column -> mask expression such as
    `deny`, `null`, `keep_last(4)`, `date(year)`, `number(5, 0)`, `pseudonym(market)`.
    row_filter: a condition in the source's own SQL over the relation's raw columns; trusted.
    min_group, entity, dimensions, measures, largest_share, round_to, guard, public: `aggregate` mode.
    round_to: measure -> step to which released cells are rounded. guard: differencing guard over history.
    public: code lists per dimension against which absent cells are counted.
    key: the column that `verify` compares; per_day and per_subject: checks a day.
    from_/until: validity, both inclusive dates or instants. approver, case, legal_basis: `raw` needs them.
    """

    id: str = ""
    relation: PlainName
    purposes: tuple[str, ...] = ()
    mode: GrantMode
    users: tuple[str, ...] = ()
    columns: tuple[PlainName, ...] = ()
    masks: dict[PlainName, str] = {}
    row_filter: str = ""
    min_group: int | None = Field(default=None, ge=3)
    entity: PlainName | None = None
    dimensions: tuple[PlainName, ...] = ()
    measures: tuple[PlainName, ...] = ()
    largest_share: int | None = Field(default=None, ge=1, le=100)
    round_to: dict[PlainName, int] = {}
    guard: bool = False
    public: dict[PlainName, tuple[str, ...]] = {}
    key: PlainName | None = None
    per_day: int | None = None
    per_subject: int | None = None
    from_: date | datetime | None = Field(default=None, alias="from")
    until: date | datetime | None = None
    requester: str = ""
    approver: str = ""
    case: str = ""
    legal_basis: str = ""
    max_rows: int | None = None


class Limits(_Model):
    """The cost shield of one agent. Hours are local: "08:00-18:00", empty = always open."""

    concurrent: int = Field(default=4, ge=1)
    queue: int = Field(default=64, ge=0)
    seconds: int = Field(default=60, ge=1)
    rows: int = Field(default=5_000_000, ge=1)
    bytes: int = Field(default=2_000_000_000, ge=1)
    memory_mb: int = Field(default=1024, ge=64)
    keys: int = Field(default=10_000, ge=0)
    hours: str = ""
    timezone: str = "UTC"


class Identity(_Model):
    """Whom the agent believes. jwks: `file:` reference to the pinned key set of the issuer."""

    issuer: str
    audience: str = ""
    jwks: str
    leeway: int = 5


class LinkageGroup(_Model):
    """A set of departments whose pseudonyms join. root: `file:`/`env:` reference to 32 bytes, hex.

    normaliser: `none` or `company` (NFC, trimmed, upper case, full-width folded).
    """

    root: str
    normaliser: Literal["none", "company"] = "none"
    epoch: str = ""


class Department(_Model):
    """The whole file. sources: name -> source configuration (`connectors.sources`), kept opaque here."""

    department: PlainName
    title: str = ""
    custodian: str = ""
    contact: str = ""
    listen: str = "127.0.0.1:0"
    owner_listen: str = ""
    state: str = "state"
    identity: Identity
    sources: dict[PlainName, dict[str, Any]]
    linkage_groups: dict[str, LinkageGroup] = {}
    purposes: tuple[str, ...] = ()
    code_lists: dict[str, tuple[str, ...]] = {}
    hierarchies: dict[str, str] = {}
    relations: dict[PlainName, RelationSpec]
    grants: tuple[Grant, ...] = ()
    limits: Limits = Limits()


# ---- reading and checking ------------------------------------------------------------------------------


def load(path: str | Path) -> Department:
    """Read and check department.yaml. Raises PolicyError; OSError if the file cannot be read."""
    file = Path(path)
    return parse(file.read_text(encoding="utf-8"), file.parent)


def parse(text: str, base_dir: Path | None = None) -> Department:
    """Check the text of a department.yaml. base_dir: where `hierarchies` files lie, None: not looked at."""
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as bad:
        raise PolicyError([f"the file is no YAML: {bad}"]) from bad
    if not isinstance(data, dict):
        raise PolicyError(["the file must be a mapping that begins with `department:`"])
    try:
        department = Department.model_validate(data)
    except ValidationError as bad:
        raise PolicyError([_sentence(e) for e in bad.errors()]) from bad
    faults = list(check(department, base_dir))
    if faults:
        raise PolicyError(faults)
    return department


class _Loader(yaml.SafeLoader):
    """A key that occurs twice is an error: YAML would silently let the second one win."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in result:
            raise yaml.YAMLError(f"key {key!r} occurs twice, line {key_node.start_mark.line + 1}")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _sentence(error: Any) -> str:
    place = ".".join(str(p) for p in error["loc"] if p != "__root__")
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def digest(department: Department) -> str:
    """The policy version: SHA-256 of the file's content in canonical form."""
    return sha256(canonical_json(department.model_dump(mode="json", by_alias=True)))


def check(department: Department, base_dir: Path | None = None) -> Iterator[str]:
    """Every fault that the models alone cannot see, one sentence each."""
    try:
        ZoneInfo(department.limits.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        yield f"limits.timezone: unknown time zone {department.limits.timezone!r}"
    if department.limits.hours:
        try:
            opening(department.limits.hours)
        except ValueError as bad:
            yield f"limits.hours: {bad}"
    for name, spec in department.relations.items():
        where = f"relations.{name}"
        if bool(spec.table) == bool(spec.view):
            yield f"{where}: give exactly one of `table` and `view`"
        if spec.source not in department.sources:
            yield f"{where}: unknown source {spec.source!r}{_nearest(spec.source, department.sources)}"
        if not spec.columns:
            yield f"{where}: has no columns"
        for column, c in spec.columns.items():
            if c.codes and c.codes not in department.code_lists:
                yield f"{where}.columns.{column}: unknown code list {c.codes!r}" + _nearest(
                    c.codes, department.code_lists
                )
    hierarchies, faults = _hierarchies(department, base_dir)
    yield from faults
    context = masks.Context(_dry_linkage(department), hierarchies)
    seen: set[str] = set()
    for i, grant in enumerate(department.grants):
        where = f"grants[{i}]" + (f" ({grant.id})" if grant.id else "")
        if grant.id and grant.id in seen:
            yield f"{where}: the id is used twice"
        seen.add(grant.id)
        for fault in _grant_faults(department, grant, context):
            yield f"{where}: {fault}"


def _dry_linkage(department: Department) -> Any:
    """Linkage for checking masks: the group must exist, keys are not read."""

    def find(group: str) -> masks.LinkageKey:
        if group not in department.linkage_groups:
            known = department.linkage_groups
            raise masks.MaskError(f"unknown linkage group {group!r}{_nearest(group, known)}")
        spec = department.linkage_groups[group]
        return masks.LinkageKey("check", group, spec.epoch, b"\0" * 32, spec.normaliser)

    return find


def _hierarchies(
    department: Department, base_dir: Path | None
) -> tuple[dict[str, Mapping[str, tuple[str, ...]]], list[str]]:
    found: dict[str, Mapping[str, tuple[str, ...]]] = {}
    faults: list[str] = []
    for name, file in department.hierarchies.items():
        if base_dir is None:
            found[name] = {}
            continue
        try:
            found[name] = read_hierarchy(base_dir / file)
        except (OSError, ValueError, csv.Error) as bad:
            faults.append(f"hierarchies.{name}: {bad}")
    return found, faults


def read_hierarchy(path: Path) -> dict[str, tuple[str, ...]]:
    """A CSV without header, `code,parent,grandparent,..` -> code: ancestors, nearest first."""
    result: dict[str, tuple[str, ...]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(file):
            if len(row) < 2 or row[0] in result:
                raise ValueError(f"{path.name}: each line is a code and its ancestors, each code once")
            result[row[0]] = tuple(row[1:])
    return result


def _grant_faults(department: Department, grant: Grant, context: masks.Context) -> Iterator[str]:
    spec = department.relations.get(grant.relation)
    if spec is None:
        yield f"unknown relation {grant.relation!r}{_nearest(grant.relation, department.relations)}"
        return
    if not department.purposes:
        yield "the department lists no `purposes`"
    for purpose in grant.purposes:
        if purpose not in department.purposes:
            yield f"unknown purpose {purpose!r}{_nearest(purpose, department.purposes)}"
    if not grant.purposes and grant.mode not in ("open", "none"):
        yield "has no `purposes`"
    named: dict[str, tuple[str, ...]] = {
        "columns": grant.columns, "masks": tuple(grant.masks), "dimensions": grant.dimensions,
        "measures": grant.measures, "round_to": tuple(grant.round_to), "public": tuple(grant.public),
        "entity": (grant.entity,) if grant.entity else (), "key": (grant.key,) if grant.key else (),
    }  # fmt: skip
    for what, names in named.items():
        for name in names:
            if name not in spec.columns:
                near = _nearest(name, spec.columns)
                yield f"{what}: relation {grant.relation} has no column {name!r}{near}"
    for name, text in grant.masks.items():
        if name in spec.columns:
            try:
                masks.build(text, spec.columns[name].type, context)
            except masks.MaskError as bad:
                yield f"masks.{name}: {bad}"
    if grant.from_ and grant.until and _instant(grant.from_, UTC, False) >= _instant(grant.until, UTC, True):
        yield "`until` lies before `from`"
    by_mode = {"aggregate": _aggregate_faults, "verify": _verify_faults, "raw": _raw_faults}
    if grant.mode in by_mode:
        yield from by_mode[grant.mode](grant, spec)
    if grant.mode != "aggregate":
        used = [n for n in _AGGREGATE_ONLY if getattr(grant, n)]
        if used:
            yield f"{', '.join(used)} only work in mode aggregate"
    if grant.mode != "verify" and (grant.key or grant.per_day is not None or grant.per_subject is not None):
        yield "key, per_day and per_subject only work in mode verify"


def _aggregate_faults(grant: Grant, spec: RelationSpec) -> Iterator[str]:
    if not grant.entity:
        yield "mode aggregate needs `entity`: the column of which a cell must hold `min_group` values"
    elif grant.entity in (*grant.dimensions, *grant.measures):
        yield "the entity can be neither dimension nor measure"
    if not grant.dimensions:
        yield "mode aggregate needs `dimensions`"
    for name in grant.measures:
        if name in spec.columns and not spec.columns[name].type.is_numeric:
            yield f"measures: {name} is no number"
        if name in grant.dimensions:
            yield f"{name} cannot be dimension and measure"
        if name in grant.masks:
            yield f"masks.{name}: a measure is not masked; use round_to"
    for name in grant.round_to:
        if name not in grant.measures:
            yield f"round_to: {name} is no measure"
        elif grant.round_to[name] <= 0:
            yield f"round_to: the step of {name} must be greater than 0"
    for name in grant.public:
        if name not in grant.dimensions:
            yield f"public: {name} is no dimension"
    if grant.largest_share is not None and not grant.measures:
        yield "largest_share needs `measures`"


def _verify_faults(grant: Grant, spec: RelationSpec) -> Iterator[str]:
    if not grant.key:
        yield "mode verify needs `key`"
    elif grant.key in spec.columns and not spec.columns[grant.key].type.is_text:
        yield "the key of mode verify is text"
    for limit in (grant.per_day, grant.per_subject):
        if limit is not None and limit < 1:
            yield "per_day and per_subject are at least 1"


def _raw_faults(grant: Grant, spec: RelationSpec) -> Iterator[str]:
    if not grant.users:
        yield "mode raw needs named `users`"
    for name in ("case", "approver", "requester", "legal_basis"):
        if not getattr(grant, name):
            yield f"mode raw needs `{name}`"
    if grant.approver and grant.approver in (grant.requester, *grant.users):
        yield "mode raw: the approver is neither the requester nor one of the users"
    if grant.max_rows is None:
        yield "mode raw needs `max_rows`"
    if grant.from_ is None or grant.until is None:
        yield "mode raw needs `from` and `until`"
    elif _instant(grant.until, UTC, True) - _instant(grant.from_, UTC, False) > timedelta(days=RAW_DAYS):
        yield f"mode raw lasts at most {RAW_DAYS} days"
    if grant.masks:
        yield "mode raw has no masks: use mode masked"
    if any(spec.columns[c].special for c in grant.columns or spec.columns if c in spec.columns):
        yield "mode raw on columns tagged `special` needs a second approver, which this version cannot record"


def opening(hours: str) -> tuple[time, time]:
    """`08:00-18:00` -> the two local times. Raises ValueError."""
    start, sep, end = hours.partition("-")
    try:
        found = time.fromisoformat(start.strip()), time.fromisoformat(end.strip())
    except ValueError:
        found = (time.min, time.min)
    if not sep or found[0] >= found[1]:
        raise ValueError(f"{hours!r} is not of the form 08:00-18:00")
    return found


def _instant(value: date | datetime, zone: ZoneInfo | Any, end: bool) -> datetime:
    """A bound of validity; a date as `until` lasts to its own end."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    day = value + timedelta(days=1) if end else value
    return datetime.combine(day, time.min, tzinfo=zone)


# ---- deciding ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """What one user may see of one relation for one purpose, now: the strictest of all grants that fit.

    columns: the visible ones, published order; denied ones are not among them (of an aggregate relation:
    dimensions, measures and the entity, of which only distinct values may be counted). masks: column -> text.
    filters: all hold. until: the earliest end, None without one. ids: the grants that were combined.
    """

    relation: str
    purpose: str
    mode: Mode
    ids: tuple[str, ...]
    columns: tuple[str, ...]
    masks: Mapping[str, tuple[str, ...]]
    filters: tuple[str, ...] = ()
    min_group: int | None = None
    entity: str | None = None
    dimensions: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    largest_share: int | None = None
    round_to: Mapping[str, int] = field(default_factory=dict)
    guard: bool = False
    public: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    key: str | None = None
    per_day: int = DEFAULT_PER_DAY
    per_subject: int = DEFAULT_PER_SUBJECT
    max_rows: int | None = None
    until: datetime | None = None


def decide(department: Department, sub: str, purpose: str, relation: str, now: datetime) -> Decision | None:
    """The decision for one relation; None is a denial, whatever the reason.

    now: an aware datetime. Grants do not add up: columns, dimensions and measures are intersected, masks
    and filters all apply, the minimum group is the largest, the mode the weakest, `until` the earliest.
    """
    spec = department.relations.get(relation)
    grants = [] if spec is None else list(_matching(department, sub, purpose, relation, now))
    if spec is None or not grants:
        return None
    mode = min(_mode(g) for _, g in grants)
    if mode is Mode.none:
        return None
    zone = ZoneInfo(department.limits.timezone)
    found = [g for _, g in grants]
    texts = {c: tuple(g.masks[c] for g in found if c in g.masks) for c in spec.columns}
    denied = {c for c, ts in texts.items() if any(masks.parse(t)[0] == "deny" for t in ts)}
    columns = [c for c in spec.columns if c not in denied and all(not g.columns or c in g.columns for g in found)]
    ends = [_instant(g.until, zone, True) for g in found if g.until is not None]
    caps = [g.max_rows for g in found if g.max_rows is not None]
    common: dict[str, Any] = {
        "relation": relation, "purpose": purpose, "mode": mode, "ids": tuple(i for i, _ in grants),
        "masks": {c: texts[c] for c in columns if texts[c]},
        "filters": tuple(dict.fromkeys(g.row_filter for g in found if g.row_filter)),
        "max_rows": min(caps, default=None), "until": min(ends, default=None),
    }  # fmt: skip
    if mode is Mode.aggregate:
        return _aggregate_decision(department, spec, [g for g in found if g.mode == "aggregate"], columns, common)
    if mode is Mode.verify:
        verify = [g for g in found if g.mode == "verify"]
        keys = {g.key for g in verify}
        if len(keys) != 1 or not keys <= set(columns):
            return None
        per_day = min(g.per_day or DEFAULT_PER_DAY for g in verify)
        per_subject = min(g.per_subject or DEFAULT_PER_SUBJECT for g in verify)
        return Decision(**common, columns=(verify[0].key or "",), key=verify[0].key, per_day=per_day,
                        per_subject=per_subject)  # fmt: skip
    return Decision(**common, columns=tuple(columns))


def _aggregate_decision(
    department: Department, spec: RelationSpec, found: Sequence[Grant], columns: Sequence[str], common: Any
) -> Decision | None:
    entities = {g.entity for g in found}
    if len(entities) != 1:
        return None
    dimensions = tuple(c for c in columns if all(c in g.dimensions for g in found))
    measures = tuple(c for c in columns if all(c in g.measures for g in found))
    shares = [g.largest_share for g in found if g.largest_share is not None]
    steps: dict[str, int] = {}
    public: dict[str, tuple[str, ...]] = {}
    for grant in found:
        for name, step in grant.round_to.items():
            steps[name] = max(step, steps.get(name, 0))
        public.update(grant.public)
    for name in dimensions:
        codes = spec.columns[name].codes
        if codes and name not in public:
            public[name] = department.code_lists[codes]
    return Decision(
        **common, columns=tuple(c for c in columns if c in (*dimensions, *measures, found[0].entity)),
        entity=found[0].entity, dimensions=dimensions,
        measures=measures, min_group=max(g.min_group or DEFAULT_MIN_GROUP for g in found),
        largest_share=min(shares, default=None), round_to=steps, guard=any(g.guard for g in found),
        public={d: public[d] for d in dimensions if d in public},
    )  # fmt: skip


def purposes_for(
    department: Department, sub: str, purposes: Sequence[str], relation: str, now: datetime
) -> tuple[str, ...]:
    """Those of the user's own purposes for which the relation is granted to them."""
    return tuple(p for p in purposes if decide(department, sub, p, relation, now) is not None)


def _mode(grant: Grant) -> Mode:
    return Mode.masked if grant.mode == "open" else Mode[grant.mode]


def _matching(
    department: Department, sub: str, purpose: str, relation: str, now: datetime
) -> Iterator[tuple[str, Grant]]:
    """Grants that fit, with the name by which the ledger calls them. Names compare byte for byte."""
    if purpose not in department.purposes:
        return
    zone = ZoneInfo(department.limits.timezone)
    for i, grant in enumerate(department.grants):
        if grant.relation != relation or (grant.users and sub not in grant.users):
            continue
        everywhere = grant.mode == "open" or (grant.mode == "none" and not grant.purposes)
        if not everywhere and purpose not in grant.purposes:
            continue
        if grant.from_ is not None and now < _instant(grant.from_, zone, False):
            continue
        if grant.until is not None and now >= _instant(grant.until, zone, True):
            continue
        yield grant.id or f"{relation}#{i}", grant
