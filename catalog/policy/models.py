"""The models of department.yaml: what may stand in it, key by key. What belongs together is checked in `checks`."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from catalog.durations import Seconds
from catalog.names import PlainName
from catalog.policy.faults import nearest
from catalog.relation import TypeText

__all__ = [
    "DEFAULT_MIN_GROUP",
    "DEFAULT_PER_DAY",
    "DEFAULT_PER_SUBJECT",
    "Allowance",
    "Budgets",
    "ClassRule",
    "ColumnSpec",
    "Department",
    "Fit",
    "Grant",
    "GrantMode",
    "Identity",
    "Limits",
    "LinkageGroup",
    "PolicyTest",
    "Project",
    "RelationSpec",
    "StandIn",
    "Synthetic",
]

GrantMode = Literal["none", "schema", "synthetic", "verify", "aggregate", "masked", "raw", "open"]
ClassMode = Literal["none", "schema", "synthetic", "verify", "aggregate", "masked", "raw"]
DEFAULT_MIN_GROUP = 10
DEFAULT_PER_DAY = 200
DEFAULT_PER_SUBJECT = 5
DEFAULT_ROWS = 1_000
MAX_STEPS = 5


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            unknown = [key for key in data if key not in known | set(cls.model_fields)]
            if unknown:
                texts = {str(key): f"unknown key {key!r}{nearest(str(key), known)}" for key in unknown}
                raise PydanticCustomError("unknown_keys", "unknown keys", {"texts": texts})
        return data


class StandIn(_Model):
    """What generated values of a column look like in mode `synthetic`; without it they follow the type and `codes`.

    values: one of these; what is named twice comes twice as often, null is NULL. range: [low, high], both inclusive,
    of numbers, dates or timestamps. format: of text, `#` a digit, `@` a capital letter, `?` a small one, every other
    sign itself. domain: keys that are the same in every relation and department that names this domain with this
    format, so that they join; size: how many of them there are. unique: no key comes twice. nulls: so many % are NULL.
    """

    values: tuple[Any, ...] = ()
    range: tuple[Any, Any] | None = None
    format: str = Field(default="", max_length=100)
    domain: str = Field(default="", max_length=63)
    size: int = Field(default=1_000, ge=1, le=1_000_000)
    unique: bool = False
    nulls: int = Field(default=0, ge=0, le=100)


class Fit(_Model):
    """Generated rows that follow sums which were released. grant: id of an `aggregate` grant of the relation.

    by: those of its dimensions whose combinations are made as often as its cells count, with the averages of its
    measures.
    The cells are asked for as any user of that grant would ask: floor, guard and its history, daily budgets. Done at
    the owner's word (`POST /owner/fit`), never because somebody asks for rows.
    """

    grant: str
    by: tuple[PlainName, ...] = Field(min_length=1)


class Synthetic(_Model):
    """Generated rows in place of a relation's own, in mode `synthetic`. rows: how many.

    examples: rows, or parts of rows, that the owner made up; each generated row takes one of them, and generates the
    columns that it leaves out. So values that belong together stay together.
    """

    rows: int = Field(default=DEFAULT_ROWS, ge=1, le=1_000_000)
    examples: tuple[dict[PlainName, Any], ...] = ()
    fit: Fit | None = None


class ColumnSpec(_Model):
    """One published column: `org_no: varchar(18)` or `org_no: {type: varchar(18), from: ORG-NO, ..}`.

    from_: raw name, if it differs from the published one. personal/special: tags for the owner's review.
    class: one of `classes`, whose rule holds under every grant.
    codes: name of a public code list, whose empty cells a suppressed answer counts against.
    synthetic: what its generated values look like.
    """

    type: TypeText
    from_: str = Field(default="", alias="from")
    comment: str = ""
    unit: str = ""
    concept: str = ""
    personal: bool = False
    special: bool = False
    class_: str = Field(default="", alias="class")
    codes: str = ""
    synthetic: StandIn = StandIn()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names under which `classes` may have a rule for this column; the tags are classes too."""
        tags = (("personal", self.personal), ("special", self.special), (self.class_, bool(self.class_)))
        return tuple(name for name, given in tags if given)


def _column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class RelationSpec(_Model):
    """A governed relation: a table of a source, or an owner view.

    table: raw table name. view: name of the file `views/<view>.<source kind>.sql`, or
    `views/<view>.sql`, beside department.yaml. Exactly one of the two.
    listed: an ungranted user may learn its name and comment from `atoll request`.
    rows: published row count.
    family: relations of one name tell of the same entities: their sums are guarded together, and dimensions of one
    name and mask mean the same. Without it, those of one table or view of a source are.
    synthetic: rows that are generated for grants of that mode.
    key: columns whose values together stand in one row only; shown to who sees them all unmasked or as pseudonyms. The
    gateway then joins on them in the department; answers do not depend on it.
    materialise: `30m`, `6h`, from one minute to 31 days: the agent may keep a copy of its rows in its own state, for as
    long, and answer modes `masked` and `raw` out of that where no row filter applies.
    """

    source: PlainName = "main"
    table: str = ""
    view: str = ""
    comment: str = ""
    columns: dict[PlainName, Annotated[ColumnSpec, BeforeValidator(_column)]]
    listed: bool = False
    rows: int | None = None
    family: str = ""
    synthetic: Synthetic = Synthetic()
    key: tuple[PlainName, ...] = ()
    materialise: Annotated[Seconds, Field(ge=60, le=31 * 86_400)] | None = None


class ClassRule(_Model):
    """What holds for every column of a class, whatever a grant says: the stricter of the two wins.

    mode: the strongest mode in which such a column is shown; in a stronger one it does not exist.
    mask: applied beside the grant's own; a column with one is never shown raw.
    """

    mode: ClassMode = "raw"
    mask: str = ""


# An empty list reads like "nobody" and would mean "everybody": it is a slip, and refused.


def _some(value: Any) -> Any:
    if value in ([], ()):
        raise ValueError("[] names nobody; leave the key out for whoever holds the purpose (raw needs named `users`)")
    return value


def _columns(value: Any) -> Any:
    if value in ([], ()):
        raise ValueError('[] names no column; write columns: "*", or leave the key out, for all of them')
    return () if value == "*" else value


_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+( ?(Z|[+-][0-9:]+))?)?")


def _moment(value: Any) -> Any:
    """A number would be read as seconds since 1970, and a slip as some other year."""
    if value is None or isinstance(value, date) or (isinstance(value, str) and _ISO.fullmatch(value)):
        return value
    raise ValueError(f"{value!r} is no date such as 2026-05-31, nor a time such as 2026-05-31T18:00:00+08:00")


_Moment = Annotated[date | datetime | None, BeforeValidator(_moment)]
_People = Annotated[tuple[str, ...], BeforeValidator(_some)]
_Columns = Annotated[
    tuple[PlainName, ...],
    BeforeValidator(_columns),
    WithJsonSchema({"anyOf": [{"const": "*"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _delegate(value: Any) -> Any:
    named = isinstance(value, (list, tuple)) and value and all(isinstance(user, str) for user in value)
    steps = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_STEPS
    if named or steps:
        return tuple(value) if named else value
    raise ValueError(f"must be users, such as [ana, ben], or a number of steps up to {MAX_STEPS}; 0 = nobody")


_Delegate = Annotated[int | tuple[str, ...], BeforeValidator(_delegate)]
_Cap = Annotated[int | None, Field(default=None, ge=1)]


class Grant(_Model):
    """Who may ask what of a relation, for which purposes, in which mode, through which masks; or a denial.

    users: exact subjects; groups: names of `groups`; neither = whoever the identity provider gives the purpose.
    `mode: open` is shorthand for one `masked` grant a purpose of the vocabulary. `deny: true` (or `mode:
    none`) is a denial, and wins: of the named columns, else of the relation; without `purposes` for all.
    columns: published columns granted, "*" or left out = all. masks: column -> mask expression such as
    `deny`, `null`, `keep_last(4)`, `date(year)`, `number(5, 0)`, `pseudonym(market)`.
    row_filter: a condition in the source's own SQL over the relation's raw columns; trusted.
    combine: `strictest`, or `union`: adds rows or columns to other grants that say `union` too (mode masked).
    min_group, entity, dimensions, measures, largest_share, p_percent, round_to, noise, guard, unguarded, base_cells,
    epoch, public: `aggregate` mode. largest_share: no entity has more than so many % of a sum; p_percent: all but the
    two largest have at least so many % of the largest.
    round_to: measure -> step to which released cells are rounded. noise: measure or `count` -> scale of the
    Laplace noise added to it, drawn once a base cell and epoch.
    guard: differencing guard over history, on by default; `guard: false` needs `unguarded`, the reason why not.
    base_cells: instead of the history, base cells with fewer than min_group entities enter no answer.
    epoch: how long a cell keeps its answer while fewer than min_group entities change.
    public: code lists per dimension against which absent cells are counted.
    key: the column that `verify` compares; per_subject: checks a day of one subject, five where not stated.
    from_/until: validity, both inclusive dates or instants. hours: local, "08:00-18:00", each day.
    max_rows, max_bytes, max_seconds: of one answer. per_day: questions a day and user; `verify`: checks, 200 where
    not stated.
    keep_seconds: for so long, at most 900, the gateway may keep an answer and give it to the same user again, in modes
    `masked` and `aggregate`; where it is not stated, it keeps none. Gateways older than this key refuse such answers.
    requester, approver, second_approver, case, legal_basis: `raw` needs them, the second approver only where
    columns are tagged `special`; people of any grant are not their own approvers.
    strict: `question` = answer only questions that the user signed with a key of their own.
    project: one of `projects`; the grant ends with it, if not before.
    delegate: who may be given it on: named users, or a number of steps; 0, nobody. via: id of the grant that this one
    was given on from; by: who gave it on. What holds is then the stricter of both, and neither without the other.
    """

    id: str = ""
    relation: PlainName
    purposes: tuple[str, ...] = ()
    mode: GrantMode = "none"
    deny: bool = False
    users: _People = ()
    groups: _People = ()
    columns: _Columns = ()
    masks: dict[PlainName, str] = {}
    row_filter: str = ""
    combine: Literal["strictest", "union"] = "strictest"
    min_group: int | None = Field(default=None, ge=3)
    entity: PlainName | None = None
    dimensions: tuple[PlainName, ...] = ()
    measures: tuple[PlainName, ...] = ()
    largest_share: int | None = Field(default=None, ge=1, le=100)
    p_percent: int | None = Field(default=None, ge=1, le=100)
    round_to: dict[PlainName, int] = {}
    noise: dict[PlainName, Annotated[float, Field(gt=0)]] = {}
    guard: bool | None = None
    unguarded: str = ""
    base_cells: bool = False
    epoch: Literal["day", "month", "quarter", "year"] | None = None
    public: dict[PlainName, tuple[str, ...]] = {}
    key: PlainName | None = None
    per_day: _Cap
    per_subject: _Cap
    from_: _Moment = Field(default=None, alias="from")
    until: _Moment = None
    hours: str = ""
    requester: str = ""
    approver: str = ""
    second_approver: str = ""
    case: str = ""
    legal_basis: str = ""
    max_rows: _Cap
    max_bytes: _Cap
    max_seconds: _Cap
    keep_seconds: int | None = Field(default=None, ge=1, le=900)
    strict: Literal["", "question"] = ""
    project: str = ""
    delegate: _Delegate = 0
    via: str = ""
    by: str = ""

    @property
    def is_denial(self) -> bool:
        return self.deny or self.mode == "none"

    @property
    def of_everyone(self) -> bool:
        return not self.users and not self.groups


class Project(_Model):
    """Work that ends. until: its last day, or a moment; every grant of the project ends with it at the latest."""

    until: Annotated[date | datetime, BeforeValidator(_moment)]
    title: str = ""


class Allowance(_Model):
    """What may be asked of aggregate relations in a day: questions, cells in their answers, literals in predicates."""

    queries: int = Field(default=5_000, ge=1)
    cells: int = Field(default=1_000_000, ge=1)
    predicates: int = Field(default=100_000, ge=1)


class Budgets(_Model):
    """Allowances for sums: each user's, each purpose's, each relation's, and all together. Refusals count."""

    user: Allowance = Allowance()
    purpose: Allowance = Allowance(queries=20_000, cells=4_000_000, predicates=400_000)
    relation: Allowance = Allowance(queries=20_000, cells=4_000_000, predicates=400_000)
    overall: Allowance = Allowance(queries=50_000, cells=10_000_000, predicates=1_000_000)


class Limits(_Model):
    """The cost shield of one agent. Hours are local: "08:00-18:00", empty = always open.

    budgets: of aggregate mode, a day.

    strict: `question` = `raw` and `verify` answer only questions that the user signed with a key of their own.

    keep_above: kinds of masks; a condition on a column so masked is never sent to the source, as the range of raw
    values that it means. Answers stay the same, and may take longer.

    confined: `required` = the agent does not start where the system cannot keep the processes that run analysts'
    queries from network, files and memory; else it takes what there is, and its log says what.
    """

    concurrent: int = Field(default=4, ge=1)
    queue: int = Field(default=64, ge=0)
    seconds: int = Field(default=60, ge=1)
    rows: int = Field(default=5_000_000, ge=1)
    bytes: int = Field(default=2_000_000_000, ge=1)
    memory_mb: int = Field(default=1024, ge=64)
    keys: int = Field(default=10_000, ge=0)
    budgets: Budgets = Budgets()
    hours: str = ""
    timezone: str = "UTC"
    strict: Literal["", "question"] = ""
    keep_above: tuple[str, ...] = ()
    confined: Literal["possible", "required"] = "possible"


class Identity(_Model):
    """Whom the agent believes. jwks: `file:` reference to the pinned key set of the issuer.

    gateways: `file:` reference to the gateways that may ask (`atoll keys trust`); with it the agent serves TLS
    and takes their certificates alone. Empty: any gateway that the issuer knows, on loopback.
    """

    issuer: str
    audience: str = ""
    jwks: str
    gateways: str = ""
    leeway: int = 5


class LinkageGroup(_Model):
    """A set of departments whose pseudonyms join. root: `file:`/`env:` reference to 32 bytes, hex.

    normaliser: `none` or `company` (NFC, trimmed, upper case, full-width folded).
    """

    root: str
    normaliser: Literal["none", "company"] = "none"
    epoch: str = ""


Expected = Literal["deny", "schema", "synthetic", "verify", "aggregate", "masked", "raw", "mask", "filter"]


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_WORDS = {"enum": list(get_args(Expected))}
_Expected = Annotated[
    tuple[Expected, ...],
    BeforeValidator(_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_WORDS, {"type": "array", "items": _WORDS}]}),
]


class PolicyTest(_Model):
    """What one user must see of one relation for one purpose; the policy is not taken where it does not hold.

    expect: one word or several. `deny`: nothing (of `columns`, if named). A mode: `schema`, `verify`, `aggregate`,
    `masked`, `raw`. `mask`: rows in which every one of `columns` (none named: at least one) is masked.
    `filter`: a row filter applies. columns: must be there. mask: column -> kind or whole expression of its
    mask, `none` for the value itself, `deny` for no such column. min_group: the floor, exactly.
    at: when; needed where a grant of the relation has a validity or hours.
    """

    user: str
    purpose: str
    relation: PlainName
    columns: tuple[PlainName, ...] = ()
    expect: _Expected
    mask: dict[PlainName, str] = {}
    min_group: int | None = None
    at: _Moment = None


class Department(_Model):
    """The whole file. sources: name -> source configuration (`connectors.sources`), kept opaque here.

    purposes: the closed vocabulary, compared byte for byte. groups: name -> users. projects: name -> when it ends.
    classes: class of columns -> rule.
    tests: what users must see; checked before the policy is taken.
    """

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
    groups: dict[str, tuple[str, ...]] = {}
    projects: dict[str, Project] = {}
    classes: dict[str, ClassRule] = {}
    code_lists: dict[str, tuple[str, ...]] = {}
    hierarchies: dict[str, str] = {}
    relations: dict[PlainName, RelationSpec]
    grants: tuple[Grant, ...] = ()
    limits: Limits = Limits()
    tests: tuple[PolicyTest, ...] = ()

    def ends(self, grant: Grant) -> tuple[date | datetime, ...]:
        """Every end that a grant has: its own, and its project's. It ends with the earliest."""
        project = self.projects.get(grant.project)
        return tuple(end for end in (grant.until, project.until if project else None) if end is not None)

    @property
    def answers(self) -> str:
        """Whom to ask about a refusal: `contact`, else the custodian; every refusal names somebody."""
        return self.contact or self.custodian or f"the owner of {self.department}"

    @cached_property
    def rules(self) -> dict[str, tuple[tuple[str, Grant], ...]]:
        """Relation -> its grants, each with its name in ledgers; `open` is written out, purpose by purpose."""
        found: dict[str, list[tuple[str, Grant]]] = {}
        for i, grant in enumerate(self.grants):
            name = grant.id or f"{grant.relation}#{i}"
            found.setdefault(grant.relation, []).extend((name, g) for g in self._written_out(grant))
        return {relation: tuple(sorted(rules, key=lambda r: r[0])) for relation, rules in found.items()}

    def _written_out(self, grant: Grant) -> tuple[Grant, ...]:
        if grant.mode != "open" or grant.deny:
            return (grant,)
        return tuple(grant.model_copy(update={"mode": "masked", "purposes": (p,)}) for p in self.purposes)
