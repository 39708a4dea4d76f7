"""What the models alone cannot see of a department.yaml: whether its parts fit together.

Every rule here is about mistakes that people make. None of them may open anything: what is named in error is
refused with the place and what would be right, and nothing of the file is used.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from catalog import masks
from catalog.policy.deciding import concerns, instant, opening
from catalog.policy.delegation import delegation_faults
from catalog.policy.families import family_of, is_guarded, meaning
from catalog.policy.faults import Fault, nearest
from catalog.policy.hierarchies import parse_hierarchy
from catalog.policy.models import Department, Grant, RelationSpec
from catalog.policy.synthetic import synthetic_faults
from catalog.types import TrinoType

__all__ = ["check", "dry_context", "view_files"]

RAW_DAYS = 30
_AGGREGATE_ONLY = (
    "min_group", "entity", "dimensions", "measures", "largest_share", "p_percent", "round_to", "noise", "guard",
    "unguarded", "base_cells", "epoch", "public",
)  # fmt: skip
_OF_A_DENIAL = {"id", "relation", "purposes", "mode", "deny", "users", "groups", "columns", "from_", "until",
                "approver", "legal_basis"}  # fmt: skip
_OF_RAW = ("requester", "second_approver", "case")

Files = Mapping[str, bytes]


def check(department: Department, files: Files | None = None) -> Iterator[Fault]:
    """Every fault that the models alone cannot see. files: views and lists beside the file, None: not looked at."""
    yield from _hours(department)
    yield from _names(department)
    for name, spec in department.relations.items():
        yield from _relation_faults(department, name, spec, files)
    hierarchies, wrong = _hierarchies(department, files)
    yield from wrong
    context = masks.Context(_dry_linkage(department), hierarchies)
    yield from _class_faults(department, context)
    seen: set[str] = set()
    for i, grant in enumerate(department.grants):
        if grant.id and grant.id in seen:
            yield Fault(("grants", i, "id"), f"the id {grant.id!r} is used twice")
        seen.add(grant.id)
        for fault in _grant_faults(department, grant, context):
            yield Fault(("grants", i, *fault.path), fault.text)
    yield from _union_faults(department)
    yield from _family_faults(department)
    yield from synthetic_faults(department)
    yield from delegation_faults(department)
    yield from _test_faults(department)


# ---- names, hours, relations, classes -----------------------------------------------------------------------


def _hours(department: Department) -> Iterator[Fault]:
    zone = department.limits.timezone
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield Fault(("limits", "timezone"), f"unknown time zone {zone!r}; zones are named like Asia/Shanghai")
    yield from _opening_faults(department.limits.hours, ("limits", "hours"))
    for i, kind in enumerate(department.limits.keep_above):
        if kind not in masks.MASKS:
            yield Fault(("limits", "keep_above", i), f"unknown mask {kind!r}{nearest(kind, masks.MASKS)}")


def _opening_faults(hours: str, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if hours:
        try:
            opening(hours)
        except ValueError as bad:
            yield Fault(path, str(bad))


def _names(department: Department) -> Iterator[Fault]:
    """Names compare byte for byte: a blank that nobody sees would make another name of it."""
    for i, purpose in enumerate(department.purposes):
        path = ("purposes", i)
        yield from _name_faults(purpose, path)
        if set(purpose) & set("*?%"):
            yield Fault(path, f"{purpose!r}: a purpose has no wildcard; list each one")
        if purpose in department.purposes[:i]:
            yield Fault(path, f"the purpose {purpose!r} is listed twice")
    for name, users in department.groups.items():
        yield from _name_faults(name, ("groups", name))
        for i, user in enumerate(users):
            yield from _user_faults(user, ("groups", name, i))


def _user_faults(user: str, path: tuple[str | int, ...]) -> Iterator[Fault]:
    yield from _name_faults(user, path)
    if "*" in user:
        yield Fault(path, f"{user!r}: a user has no wildcard; leave `users` out for whoever holds the purpose")


def _name_faults(name: str, path: tuple[str | int, ...]) -> Iterator[Fault]:
    if not name or name != name.strip() or not name.isprintable():
        yield Fault(
            path, f"{name!r} is empty, or has a blank at an end or an invisible sign: names compare byte for byte"
        )


def _relation_faults(department: Department, name: str, spec: RelationSpec, files: Files | None) -> Iterator[Fault]:
    where = ("relations", name)
    if bool(spec.table) == bool(spec.view):
        yield Fault(where, "give exactly one of `table` and `view`")
    if spec.source not in department.sources:
        yield Fault((*where, "source"), f"unknown source {spec.source!r}{nearest(spec.source, department.sources)}")
    elif spec.view and files is not None and not any(file in files for file in view_files(department, name)):
        near = nearest(view_files(department, name)[0], files)
        yield Fault((*where, "view"), f"no file {' or '.join(view_files(department, name))}{near}")
    if not spec.columns:
        yield Fault((*where, "columns"), "has no columns")
    for i, column in enumerate(spec.key):
        if column not in spec.columns:
            yield Fault((*where, "key", i), f"unknown column {column!r}{nearest(column, spec.columns)}")
    for column, c in spec.columns.items():
        if c.codes and c.codes not in department.code_lists:
            near = nearest(c.codes, department.code_lists)
            yield Fault((*where, "columns", column, "codes"), f"unknown code list {c.codes!r}{near}")
        if c.class_ and c.class_ not in department.classes:
            near = nearest(c.class_, department.classes)
            yield Fault((*where, "columns", column, "class"), f"unknown class {c.class_!r}{near}")


def view_files(department: Department, relation: str) -> tuple[str, ...]:
    """Where the owner's SELECT of a view may lie, the first one found counts."""
    spec = department.relations[relation]
    kind = str(department.sources[spec.source].get("kind", ""))
    return f"views/{spec.view}.{kind}.sql", f"views/{spec.view}.sql"


def _class_faults(department: Department, context: masks.Context) -> Iterator[Fault]:
    """A class without a column protects nothing, and a mask that does not fit one of its columns neither."""
    for name, rule in department.classes.items():
        columns = [
            (f"{r}.{c}", spec.type) for r, s in department.relations.items() for c, spec in s.columns.items()
            if name in spec.classes
        ]  # fmt: skip
        if not columns:
            known = {c for s in department.relations.values() for spec in s.columns.values() for c in spec.classes}
            yield Fault(("classes", name), f"no column is of class {name!r}{nearest(name, known)}")
        for column, kind in columns if rule.mask else ():
            try:
                masks.build(rule.mask, kind, context)
            except masks.MaskError as bad:
                yield Fault(("classes", name, "mask"), f"column {column}: {bad}")


def dry_context(department: Department, files: Files | None) -> masks.Context:
    """What masks of a checked policy need to be built without a key: shapes and types are right, values are not."""
    return masks.Context(_dry_linkage(department), _hierarchies(department, files)[0])


def _dry_linkage(department: Department) -> Callable[[str], masks.LinkageKey]:
    """Linkage for checking masks: the group must exist, keys are not read."""

    def find(group: str) -> masks.LinkageKey:
        if group not in department.linkage_groups:
            raise masks.MaskError(f"unknown linkage group {group!r}{nearest(group, department.linkage_groups)}")
        spec = department.linkage_groups[group]
        return masks.LinkageKey("check", group, spec.epoch, b"\0" * 32, spec.normaliser)

    return find


def _hierarchies(
    department: Department, files: Files | None
) -> tuple[dict[str, Mapping[str, tuple[str, ...]]], list[Fault]]:
    found: dict[str, Mapping[str, tuple[str, ...]]] = {}
    wrong: list[Fault] = []
    for name, file in department.hierarchies.items():
        found[name] = {}
        if files is None:
            continue
        if file not in files:
            wrong.append(Fault(("hierarchies", name), f"there is no file {file}{nearest(file, files)}"))
            continue
        try:
            found[name] = parse_hierarchy(file, files[file])
        except (ValueError, csv.Error) as bad:
            wrong.append(Fault(("hierarchies", name), str(bad)))
    return found, wrong


# ---- grants -------------------------------------------------------------------------------------------------


def _grant_faults(department: Department, grant: Grant, context: masks.Context) -> Iterator[Fault]:
    """Paths are relative to the grant."""
    spec = department.relations.get(grant.relation)
    if spec is None:
        near = nearest(grant.relation, department.relations)
        yield Fault(("relation",), f"unknown relation {grant.relation!r}{near}")
        return
    yield from _grantee_faults(department, grant)
    for name in sorted(grant.model_fields_set):
        if getattr(grant, name) is None:
            key = name.rstrip("_")
            yield Fault((key,), f"`{key}` is empty: give it a value, or leave the key out")
    yield from _column_faults(grant, spec)
    if grant.is_denial:
        yield from _denial_faults(grant)
        return
    for name, text in grant.masks.items():
        if name in spec.columns:
            try:
                masks.build(text, spec.columns[name].type, replace(context, column=name))
            except masks.MaskError as bad:
                yield Fault(("masks", name), str(bad))
                continue
            for bad_pair in masks.pair_faults(name, grant.masks, {n: c.type for n, c in spec.columns.items()}):
                yield Fault(("masks", name), bad_pair)
    yield from _time_faults(grant)
    if "row_filter" in grant.model_fields_set and not grant.row_filter.strip():
        yield Fault(("row_filter",), "an empty filter would keep every row: leave the key out if that is meant")
    by_mode = {"aggregate": _aggregate_faults, "verify": _verify_faults, "raw": _raw_faults}
    if grant.mode in by_mode:
        yield from by_mode[grant.mode](grant, spec)
    if grant.mode == "aggregate":
        yield from _dimension_faults(department, grant, spec, context)
    yield from _misplaced(grant)


def _grantee_faults(department: Department, grant: Grant) -> Iterator[Fault]:
    if not department.purposes:
        yield Fault((), "the department lists no `purposes`")
    for i, purpose in enumerate(grant.purposes):
        if purpose not in department.purposes:
            yield Fault(("purposes", i), f"unknown purpose {purpose!r}{nearest(purpose, department.purposes)}")
    if grant.mode == "open" and grant.purposes:
        yield Fault(("purposes",), "mode open is for every purpose: name none, or say `mode: masked`")
    elif not grant.purposes and grant.mode != "open" and not grant.is_denial:
        yield Fault((), "has no `purposes`")
    for i, user in enumerate(grant.users):
        yield from _user_faults(user, ("users", i))
    for i, group in enumerate(grant.groups):
        if group not in department.groups:
            yield Fault(("groups", i), f"unknown group {group!r}{nearest(group, department.groups)}")


def _column_faults(grant: Grant, spec: RelationSpec) -> Iterator[Fault]:
    named: dict[str, Sequence[str]] = {
        "columns": grant.columns, "masks": tuple(grant.masks), "dimensions": grant.dimensions,
        "measures": grant.measures, "round_to": tuple(grant.round_to), "public": tuple(grant.public),
        "entity": (grant.entity,) if grant.entity else (), "key": (grant.key,) if grant.key else (),
    }  # fmt: skip
    for what, names in named.items():
        for i, name in enumerate(names):
            if name not in spec.columns:
                place: str | int = name if what in ("masks", "round_to", "public") else i
                path = (what,) if what in ("entity", "key") else (what, place)
                yield Fault(path, f"relation {grant.relation} has no column {name!r}{nearest(name, spec.columns)}")
            elif what == "masks" and grant.columns and name not in grant.columns:
                yield Fault((what, name), f"{name} is masked but not among the grant's `columns`")


def _denial_faults(grant: Grant) -> Iterator[Fault]:
    if grant.deny and grant.mode != "none":
        yield Fault(("mode",), f"`deny: true` and mode {grant.mode} contradict each other")
    if not grant.deny and "mode" not in grant.model_fields_set:
        yield Fault((), "has no `mode`; a denial says `deny: true`")
    for name in sorted(grant.model_fields_set - _OF_A_DENIAL):
        yield Fault((name,), f"a denial has no `{name}`: it denies whole columns, or the whole relation")
    yield from _time_faults(grant)


def _time_faults(grant: Grant) -> Iterator[Fault]:
    if grant.from_ and grant.until and instant(grant.from_, UTC, False) >= instant(grant.until, UTC, True):
        yield Fault(("until",), "`until` lies before `from`")
    yield from _opening_faults(grant.hours, ("hours",))


def _misplaced(grant: Grant) -> Iterator[Fault]:
    """Keys that do nothing in this mode: whoever wrote them expected something."""
    if grant.mode != "aggregate":
        used = [n for n in _AGGREGATE_ONLY if getattr(grant, n) not in (None, "", False, (), {})]
        if used:
            yield Fault((used[0],), f"{', '.join(used)} only work in mode aggregate")
    if grant.mode != "verify" and (grant.key or grant.per_subject is not None):
        yield Fault(("key" if grant.key else "per_subject",), "key and per_subject only work in mode verify")
    if grant.keep_seconds is not None and (grant.mode not in ("masked", "open", "aggregate") or grant.strict):
        yield Fault(
            ("keep_seconds",), "answers are kept in modes masked and aggregate, where nobody must sign questions"
        )
    if grant.combine == "union" and grant.mode not in ("masked", "open"):
        yield Fault(("combine",), f"`combine: union` adds up masked rows; mode {grant.mode} does not add up")


def _aggregate_faults(grant: Grant, spec: RelationSpec) -> Iterator[Fault]:
    if not grant.entity:
        yield Fault((), "mode aggregate needs `entity`: the column of which a cell must hold `min_group` values")
    elif grant.entity in (*grant.dimensions, *grant.measures):
        yield Fault(("entity",), "the entity can be neither dimension nor measure")
    if not grant.dimensions:
        yield Fault((), "mode aggregate needs `dimensions`")
    for i, name in enumerate(grant.measures):
        if name in spec.columns and not spec.columns[name].type.is_numeric:
            yield Fault(("measures", i), f"{name} is no number")
        if name in grant.dimensions:
            yield Fault(("measures", i), f"{name} cannot be dimension and measure")
        if name in grant.masks:
            yield Fault(("masks", name), "a measure is not masked; use round_to")
    for name, step in grant.round_to.items():
        if name not in grant.measures:
            yield Fault(("round_to", name), f"{name} is no measure")
        elif step <= 0:
            yield Fault(("round_to", name), f"the step of {name} must be greater than 0")
    for name in grant.public:
        if name not in grant.dimensions:
            yield Fault(("public", name), f"{name} is no dimension")
    for rule in ("largest_share", "p_percent"):
        if getattr(grant, rule) is not None and not grant.measures:
            yield Fault((rule,), f"{rule} needs `measures`")
    for name in grant.noise:
        if name not in (*grant.measures, "count"):
            yield Fault(("noise", name), f"{name} is neither a measure nor `count`")
    if grant.guard is False and not grant.unguarded.strip() and not grant.base_cells:
        yield Fault(("guard",), "`guard: false` needs `unguarded`: why differences of answers may be told")
    if grant.unguarded and grant.guard is not False:
        yield Fault(("unguarded",), "`unguarded` is the reason for `guard: false`, which is not there")
    if grant.columns:
        for name in {*grant.dimensions, *grant.measures} - set(grant.columns):
            yield Fault(("columns",), f"{name} is not among them; leave `columns` out in mode aggregate")


_OWN_NAME = re.compile("entity|n|place|entities|[skxyte][0-9]+")
"""A dimension of such a name would be counted, or shown, in place of what the agent adds up."""


def _dimension_faults(
    department: Department, grant: Grant, spec: RelationSpec, context: masks.Context
) -> Iterator[Fault]:
    """Cells are named by values that can be written down and compared; public codes are such values."""
    for i, name in enumerate(grant.dimensions):
        if name not in spec.columns:
            continue
        if _OWN_NAME.fullmatch(name):
            yield Fault(("dimensions", i), f"the agent's own reckoning uses the name {name}: publish the column under "
                        "another, with `from`")  # fmt: skip
        kind = spec.columns[name].type
        if name in grant.masks:
            try:
                kind = masks.build(grant.masks[name], kind, replace(context, column=name)).type
            except masks.MaskError:
                continue  # a fault of its own
        if kind.name in ("double", "real"):
            yield Fault(("dimensions", i), f"{name} is a floating number, of which no two need be equal: mask it with "
                        "`bucket(..)`, or declare the column as decimal")  # fmt: skip
            continue
        listed, place = grant.public.get(name), ("public", name)
        codes = listed if listed is not None else department.code_lists.get(spec.columns[name].codes, ())
        bad = next((c for c in codes if not _is_code(c, kind)), None)
        if bad is not None:
            where = f"of the code list {spec.columns[name].codes} " if listed is None else ""
            text = f"the public code {bad!r} {where}is no {kind} as {name} is shown"
            yield Fault(place if listed is not None else ("dimensions", i), text)


def _is_code(code: str, kind: TrinoType) -> bool:
    """Whether a public code is a value of this type, written as code lists write it."""
    if kind.is_text:
        return True
    if kind.name == "boolean":
        return code in ("true", "false")
    try:
        if kind.is_integer:
            return str(int(code)) == code
        if kind.name == "date":
            return date.fromisoformat(code).isoformat() == code
        return kind.name == "decimal" and Decimal(code).is_finite()
    except (ValueError, InvalidOperation):
        return False


# ---- families: what is held against each other --------------------------------------------------------------


def _family_faults(department: Department) -> Iterator[Fault]:
    """Answers over the same entities that cannot be held against each other would tell of a few by their difference."""
    families: dict[str, list[_Sums]] = {}
    for i, grant in enumerate(department.grants):
        spec = department.relations.get(grant.relation)
        known = spec is not None and {*grant.dimensions, *grant.measures, *grant.noise} <= {*spec.columns, "count"}
        if spec is None or not known or grant.mode != "aggregate" or grant.deny:
            continue
        if is_guarded(grant) or grant.base_cells:
            families.setdefault(family_of(spec), []).append(_Sums(i, grant, spec))
        elif grant.noise:
            text = "`noise` stays the same while somebody comes or leaves: leave the guard on, or `base_cells: true`"
            yield Fault(("grants", i, "noise"), text)
    yield from _split_faults([s for sums in families.values() for s in sums])
    for sums in families.values():
        yield from _entity_faults(sums)
        yield from _column_name_faults(sums)
        yield from _noise_faults(sums)
        whole = [s for s in sums if s.grant.base_cells]
        parts = [s for s in sums if not s.grant.base_cells]
        if whole and parts:
            yield whole[0].fault(
                "base_cells", f"{parts[0].name} sums the same rows under the guard; a family has either the guard or "
                "`base_cells: true`: say the same in both",
            )  # fmt: skip
        yield from _base_cell_faults(whole)
        yield from _guard_faults(parts)


@dataclass(frozen=True)
class _Sums:
    """An aggregate grant among those of its family. number: its place in the file."""

    number: int
    grant: Grant
    spec: RelationSpec

    @property
    def name(self) -> str:
        return self.grant.id or f"grants.{self.number}"

    def fault(self, key: str, text: str) -> Fault:
        return Fault(("grants", self.number, key), text)

    @property
    def source(self) -> tuple[str, str, str]:
        return self.spec.source, self.spec.table, self.spec.view


def _split_faults(sums: Sequence[_Sums]) -> Iterator[Fault]:
    """Two families over the same rows are two histories, and the difference of their sums would tell of a few."""
    first: dict[tuple[str, str, str], _Sums] = {}
    apart: set[str] = set()
    for s in sums:
        other = first.setdefault(s.source, s)
        one, name = other.grant.relation, s.grant.relation
        if s.spec.family != other.spec.family and name not in apart:
            apart.add(name)
            yield Fault(
                ("relations", name, "family"), f"{one} and {name} sum the same rows of {s.spec.table or s.spec.view}, "
                "and only sums of one family are held against each other: write "
                f"`family: {other.spec.family or s.spec.family}` in both",
            )  # fmt: skip


def _entity_faults(sums: Sequence[_Sums]) -> Iterator[Fault]:
    counted: _Sums | None = None
    for s in sums:
        if not s.grant.entity or s.grant.entity not in s.spec.columns:
            continue
        first = counted = counted or s
        one, other = first.grant, s.grant
        same = meaning(s.spec, s.grant.entity) == meaning(first.spec, one.entity or "")
        if not same and (one.relation == other.relation or not s.spec.family):
            yield s.fault(
                "entity", f"{one.relation} counts {one.entity} and {other.relation} counts {other.entity} of the same "
                "rows: their answers cannot be guarded together; count one of them, or say why not by `unguarded`",
            )  # fmt: skip


def _column_name_faults(sums: Sequence[_Sums]) -> Iterator[Fault]:
    """In a declared family columns of one name are the same, so the same column must have one name."""
    named: dict[tuple[object, ...], tuple[str, _Sums]] = {}
    for s in sums:
        for column in (*s.grant.dimensions, *s.grant.measures) if s.spec.family else ():
            raw = s.spec.columns[column].from_ or column
            other, first = named.setdefault((*s.source, raw), (column, s))
            if other != column:
                key = "dimensions" if column in s.grant.dimensions else "measures"
                yield s.fault(
                    key, f"{column} and {other} of {first.grant.relation} are one column of the source, and in a "
                    "declared `family` columns are known by their names: call them the same, or grant one of them",
                )  # fmt: skip


def _noise_faults(sums: Sequence[_Sums]) -> Iterator[Fault]:
    """Two scales would be two draws for one cell, of which the average is nearer to the truth."""
    drawn: dict[str, _Sums] = {}
    for s in sums:
        for name in s.grant.noise:
            what = name if name == "count" else meaning(s.spec, name)
            first = drawn.setdefault(what, s)
            ours, theirs = s.grant, first.grant
            scale = next(x for n, x in theirs.noise.items() if (n if n == "count" else meaning(first.spec, n)) == what)
            if scale != ours.noise[name]:
                text = f"{first.name} adds noise of scale {scale:g} to the same {name}: one number has one scale"
                yield s.fault("noise", text)
            elif (ours.epoch or "month") != (theirs.epoch or "month"):
                text = f"{first.name} draws the same noise for each {theirs.epoch or 'month'}: name one epoch"
                yield s.fault("epoch", text)


def _base_cell_faults(sums: Sequence[_Sums]) -> Iterator[Fault]:
    """What one grant leaves out as small another must leave out too."""
    shares = ("largest_share", "p_percent")
    terms = ("relation", "dimensions", "measures", "masks", "row_filter", "min_group", *shares, "epoch")
    for s in sums[1:]:
        first = sums[0].grant
        for key in terms:
            one, other = (_sorted(getattr(g, key)) for g in (first, s.grant))
            if one != other:
                yield s.fault(
                    key, f"{sums[0].name} has another `{key}`: with `base_cells: true` the small cells of one would "
                    "show as the difference to the other; write it alike in all grants over these rows",
                )  # fmt: skip
                break


def _sorted(value: object) -> object:
    return sorted(value) if isinstance(value, tuple) else value


def _guard_faults(sums: Sequence[_Sums]) -> Iterator[Fault]:
    """The guard tells rows apart by all dimensions of the family, and holds sums to one rule of dominance."""
    counted = {meaning(s.spec, d): (s, d) for s in reversed(sums) for d in s.grant.dimensions}
    missing = set()
    for s in sums:
        own = {meaning(s.spec, c) for c in s.spec.columns}
        for what, (by, dimension) in sorted(counted.items()):
            if what not in own and (s.grant.relation, what) not in missing:
                missing.add((s.grant.relation, what))
                yield Fault(
                    ("relations", s.grant.relation, "columns"),
                    f"{by.name} counts the same rows by {dimension} ({what}), which {s.grant.relation} has not: name "
                    "the column here too; no grant need show it",
                )  # fmt: skip
    with_sums = [s for s in sums if s.grant.measures]
    for s in with_sums[1:]:
        for key in ("largest_share", "p_percent"):
            wanted = getattr(with_sums[0].grant, key)
            if getattr(s.grant, key) != wanted:
                own_text = f"`{key}: {wanted}`" if wanted is not None else f"no `{key}`"
                yield s.fault(key, f"{with_sums[0].name} sums the same rows with {own_text}: write the same in both")


def _verify_faults(grant: Grant, spec: RelationSpec) -> Iterator[Fault]:
    if not grant.key:
        yield Fault((), "mode verify needs `key`")
    elif grant.key in spec.columns and not spec.columns[grant.key].type.is_text:
        yield Fault(("key",), "the key of mode verify is text")
    elif grant.key in grant.masks or (grant.columns and grant.key not in grant.columns):
        yield Fault(("key",), "the key of mode verify can be neither masked nor left out of `columns`")


def _raw_faults(grant: Grant, spec: RelationSpec) -> Iterator[Fault]:
    if not grant.users or grant.groups:
        yield Fault(("groups",) if grant.groups else (), "mode raw needs named `users`, and no groups")
    for name in ("case", "approver", "requester", "legal_basis"):
        if not getattr(grant, name).strip():
            yield Fault((), f"mode raw needs `{name}`")
    people = {_same_person(name) for name in (grant.requester, *grant.users)}
    if grant.approver and _same_person(grant.approver) in people:
        yield Fault(("approver",), "mode raw: the approver is neither the requester nor one of the users")
    if grant.max_rows is None:
        yield Fault((), "mode raw needs `max_rows`")
    if grant.from_ is None or grant.until is None:
        yield Fault((), "mode raw needs `from` and `until`")
    elif instant(grant.until, UTC, True) - instant(grant.from_, UTC, False) > timedelta(days=RAW_DAYS):
        yield Fault(("until",), f"mode raw lasts at most {RAW_DAYS} days")
    if grant.masks:
        yield Fault(("masks",), "mode raw has no masks: use mode masked")
    special = [c for c in grant.columns or spec.columns if c in spec.columns and spec.columns[c].special]
    if special and not grant.second_approver.strip():
        text = f"mode raw on columns tagged `special` ({', '.join(special)}) needs a second approver: `second_approver`"
        yield Fault((), text)
    if grant.second_approver and _same_person(grant.second_approver) in {*people, _same_person(grant.approver)}:
        yield Fault(("second_approver",), "mode raw: the second approver is a third person")


def _same_person(name: str) -> str:
    """Approvers are people, not names: who differs by a capital letter is the same one."""
    return name.strip().casefold()


def _union_faults(department: Department) -> Iterator[Fault]:
    """Unions that meet have the same rows or the same columns: else a row of one would show a column of another."""
    unions = [(i, g) for i, g in enumerate(department.grants) if g.combine == "union" and not g.is_denial]
    for place, (i, grant) in enumerate(unions):
        if "row_filter" in grant.model_fields_set and not _closed(grant.row_filter):
            yield Fault(("grants", i, "row_filter"), "a filter of a union has balanced parentheses and no comment")
        for _, other in unions[:place]:
            same_columns = set(grant.columns) == set(other.columns) and grant.masks == other.masks
            if _meet(department, grant, other) and grant.row_filter != other.row_filter and not same_columns:
                text = f"and {other.id or 'another union'} differ in rows and in columns: make one of these equal"
                yield Fault(("grants", i, "combine"), text)


def _meet(department: Department, one: Grant, other: Grant) -> bool:
    """Whether two grants can both fit one question."""
    everywhere = set(department.purposes)
    purposes = [everywhere if g.mode == "open" else set(g.purposes) for g in (one, other)]
    people = [{*g.users, *(u for n in g.groups for u in department.groups.get(n, ()))} for g in (one, other)]
    shared = one.of_everyone or other.of_everyone or bool(people[0] & people[1])
    return one.relation == other.relation and shared and bool(purposes[0] & purposes[1])


def _closed(text: str) -> bool:
    depth, quoted = 0, False
    for i, sign in enumerate(text):
        if sign == "'":
            quoted = not quoted
        if quoted:
            continue
        depth += (sign == "(") - (sign == ")")
        if depth < 0 or text[i : i + 2] in ("--", "/*") or sign in "#;":
            return False
    return depth == 0 and not quoted


# ---- tests --------------------------------------------------------------------------------------------------


def _test_faults(department: Department) -> Iterator[Fault]:
    """A test about a name that does not exist would hold for ever."""
    for i, test in enumerate(department.tests):
        where: tuple[str | int, ...] = ("tests", i)
        spec = department.relations.get(test.relation)
        if test.purpose not in department.purposes:
            near = nearest(test.purpose, department.purposes)
            yield Fault((*where, "purpose"), f"unknown purpose {test.purpose!r}{near}")
        if spec is None:
            near = nearest(test.relation, department.relations)
            yield Fault((*where, "relation"), f"unknown relation {test.relation!r}{near}")
            continue
        for key, names in (("columns", test.columns), ("mask", tuple(test.mask))):
            for name in names:
                if name not in spec.columns:
                    near = nearest(name, spec.columns)
                    yield Fault((*where, key, name), f"relation {test.relation} has no column {name!r}{near}")
        for name, text in test.mask.items():
            try:
                if text != "none":
                    masks.parse(text)
            except masks.MaskError as bad:
                yield Fault((*where, "mask", name), str(bad))
        if "deny" in test.expect and (len(test.expect) > 1 or test.mask or test.min_group is not None):
            yield Fault((*where, "expect"), "`deny` stands alone, with `columns` at most")
        timed = [
            g for g in department.grants if g.relation == test.relation and (g.from_ or g.until or g.hours or g.project)
            and concerns(department, g, test.user, test.purpose)
        ]  # fmt: skip
        if timed and test.at is None:
            name = timed[0].id or timed[0].relation
            yield Fault(where, f"the grant {name} has a validity: say `at:`, so that the test holds tomorrow")
