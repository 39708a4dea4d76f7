"""Semi-join reduction: the keys of a small answer go into the next department's fragment, and so on from there.

Which fragment is asked first, and whose keys another waits for, is decided by estimates (`size`). They decide what
is fast, never what is right: a fragment with keys delivers every row that can matter, and one without delivers more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod

from sqlglot import exp, parse_one

from catalog import duck
from catalog.errors import UserError
from catalog.exchange import KEY_COLUMNS, KEYS_TABLES
from catalog.names import RelationName
from catalog.relation import Relation
from gateway.plan import FragmentPlan, KeySet, KeySource
from gateway.plan.size import Size, size_of
from gateway.rewrite.kinds import stand_for_each_other
from gateway.rewrite.predicates import accepts
from gateway.rewrite.restrict import KEY_TYPES
from gateway.rewrite.tree import (
    Source,
    conjuncts,
    has_grouping_sets,
    has_window,
    is_aggregate_select,
    outputs,
    set_where,
    sources,
)

__all__ = ["KEY_COST", "MAX_KEYS", "PAYS", "bind_keys", "key_set", "types_of"]

MAX_KEYS = 100_000
"""More distinct keys than these in a set: the fragment goes without it."""
KEY_COST = 0.5
"""Of a key that is sent, in rows that are not delivered."""
MAX_SETS = 3
"""Sets of one fragment. It has a text for each choice among them."""
TOO_MANY = 400_000
"""Keys expected of a giver beyond which nobody waits for it: that many will hardly be few enough."""
PAYS = 0.4
"""A set must be expected to leave at most this part of an answer, or nobody waits for it."""
WORTH = 1_000
"""Rows expected of a fragment that was settled, at least, or it does not wait any longer to be spared some."""
ROWS_A_VALUE = 2
"""Rows of a giver for each value, at most, where several columns of them are sent instead of one."""


@dataclass(frozen=True)
class _Place:
    """A column of the merge, and what is known of where it comes from.

    fragment, output: the fragment that delivers it. steers: the fragment may be restricted by this column's values.
    """

    fragment: str
    output: int
    steers: bool


@dataclass(frozen=True)
class _Link:
    """Rows of `taker` matter only if their value is among those of `giver`.

    meeting: the select in which a row of the giver meets one of the taker, None if either may be of several rows. Of
    links of one meeting some one row of the giver must have all the values.
    """

    giver: _Place
    taker: _Place
    meeting: int | None = None


def bind_keys(
    merge: exp.Query,
    fragments: list[FragmentPlan],
    relations: dict[RelationName, Relation],
    rows: Mapping[str, int] | None = None,
) -> list[FragmentPlan]:
    """Give fragments the join keys of others that are expected to leave little of them. rows: that a text delivered.

    Proof sketch. In `a JOIN b ON a.x = b.y` (inner, or b the right side of a LEFT JOIN) a row of b whose
    y is not among a's x joins nothing, and b is read nowhere else. Restricting b's fragment to those
    keys drops only such rows. In a subquery the rows around it are a: what a condition `b.y = a.x` of its WHERE
    drops, it never sees. In `a.x IN (SELECT y FROM b)`, where WHERE demands it, either side's values restrict the
    other. The keys are a's governed rows, before any condition of the merge, so there are never too few; a may
    itself have been restricted, to rows that matter. A column of a derived table is followed to the
    fragment below: any rows of it may give; it takes where a condition on it may move down
    (`predicates.accepts`). Inside b's fragment the restriction stands before grouping: b.y must be a grouping key
    then, and there may be no window, whose frame would lose rows. What equals b.y there, by a condition that all
    rows fulfil, is restricted too. Several sets of keys restrict by each: a row that matters passes all of them.
    Where a and b meet in several columns, as in `a.x = b.y AND a.u = b.v`, one row of a has all the values of a row of
    b that matters, so that b is restricted to the pairs that a has. They come of one row of a fragment if that is read
    once in the whole merge: no derived table can put two of its rows into one.
    Fragments are settled one after the other, and take from those settled before; in a second round (`_once_more`)
    also from those settled later that do not wait for them: no two wait for each other, over however many others.
    Rows of a giver that matter only if another answer has their value, and are there although it has not, for that
    answer came later, need give nothing (`_Set.matching`): it is the rule above, at work in the gateway.
    Whoever gives keys to an exact fragment (`restrict`) takes none: all of them are needed.
    """
    by_id = {f.id: f for f in fragments}
    found = _links(merge, by_id)
    types = {name: types_of(by_id[name]) for name in _named(found)}
    exact = {n for f in fragments if f.keys is not None and f.is_exact for n in f.keys.needs}
    links = [link for link in found if link.taker.fragment not in exact and _may_bind(link, merge, by_id, types)]
    links = [link if _uses(merge, link.giver.fragment) == 1 else replace(link, meeting=None) for link in links]
    alone = {name: size_of(by_id[name], relations, rows) for name in _named(links) | exact}
    wanted = {f.id: _Wanted(f, alone[f.id]) for f in fragments if f.id in alone}
    waiting = dict(wanted)
    while waiting:
        settled = min(waiting.values(), key=lambda one: (_lost(one, links, waiting), one.size.rows))
        del waiting[settled.fragment.id]
        for link in links:
            if link.giver.fragment == settled.fragment.id and link.taker.fragment in waiting:
                waiting[link.taker.fragment].offer(link, settled.size)
    _once_more(wanted, links)
    return [wanted[f.id].bound(rows or {}) if f.id in wanted else f for f in fragments]


def _once_more(wanted: Mapping[str, _Wanted], links: list[_Link]) -> None:
    """Offer every fragment the keys that it did not take, of whoever does not wait for it: some are fewer by now.

    TPC-H q08 is a star: all lines of two years are too many for keys, those of a few parts are not, and fewer suppliers
    are left if only lines count whose customer is one of those in AMERICA, who were asked by the keys of the lines.
    """
    for link in links:
        giver, taker = wanted[link.giver.fragment], wanted[link.taker.fragment]
        if taker.size.rows < WORTH or link in taker.taken or _waits(link.giver.fragment, link.taker.fragment, wanted):
            continue
        if not taker.offer(link, giver.size):
            matching, size = _reduced(link, wanted, links)
            if matching:
                taker.offer(link, size, matching)


def _reduced(link: _Link, wanted: Mapping[str, _Wanted], links: list[_Link]) -> tuple[tuple[_Link, ...], Size]:
    """Links to a giver from others whose keys it was not asked with, as far as its taker can wait for these; and how
    large it is with them."""
    giver, found = wanted[link.giver.fragment], dict[str, tuple[float, _Link]]()
    for one in links:
        name = one.giver.fragment
        if one.taker.fragment != link.giver.fragment or name in giver.givers:
            continue
        # What the other was left with by the giver's own keys says nothing of the giver: its own conditions do.
        part = _part(one, wanted[name].alone, giver)
        if part <= PAYS and part < found.get(name, (1.0,))[0] and not _waits(name, link.taker.fragment, wanted):
            found[name] = part, one
    return tuple(one for _, one in found.values()), giver.size.times(prod(part for part, _ in found.values()))


def _waits(one: str, other: str, wanted: Mapping[str, _Wanted]) -> bool:
    """Whether a fragment is another, or waits for it, directly or over others."""
    seen, left = set[str](), [one]
    while left:
        name = left.pop()
        if name == other:
            return True
        if name not in seen:
            seen.add(name)
            left += wanted[name].givers
    return False


def _lost(one: _Wanted, links: list[_Link], waiting: dict[str, _Wanted]) -> int:
    """Whole rows that a fragment would be spared if it waited for the best of those that are not settled yet."""
    parts = [
        part
        for link in links
        if link.taker.fragment == one.fragment.id and link.giver.fragment in waiting
        if (part := _part_left(link, waiting[link.giver.fragment].size, one)) is not None
    ]
    return int(one.size.rows * (1 - min(parts, default=1.0)))


@dataclass(frozen=True)
class _Set:
    """Keys that a fragment waits for. part: of its rows that they are expected to leave. matching: links to the giver,
    of whose rows only those give that have these values."""

    part: float
    link: _Link
    matching: tuple[_Link, ...] = ()

    @property
    def givers(self) -> set[str]:
        return {link.giver.fragment for link in (self.link, *self.matching)}


class _Wanted:
    """A fragment, and the sets of keys that it is to wait for so far. alone: its size without any."""

    def __init__(self, fragment: FragmentPlan, alone: Size) -> None:
        self.fragment = fragment
        self.alone = alone
        self._sets: dict[str, _Set] = {}
        self._offered: dict[_Link, Size] = {}

    @property
    def size(self) -> Size:
        """With the sets taken so far. Columns of one giver restrict much the same rows: the best of them counts."""
        parts: dict[str, float] = {}
        for one in self._sets.values():
            giver = one.link.giver.fragment
            parts[giver] = min(one.part, parts.get(giver, 1.0))
        return self.alone.times(prod(parts.values()))

    @property
    def givers(self) -> set[str]:
        """The fragments that it waits for."""
        return {name for one in self._sets.values() for name in one.givers}

    @property
    def taken(self) -> set[_Link]:
        return {one.link for one in self._sets.values()}

    def offer(self, link: _Link, give: Size, matching: tuple[_Link, ...] = ()) -> bool:
        """Take the keys of a fragment if they pay: one set a column, and no more sets than may be sent.

        give: the giver's size, with what `matching` leaves of it.
        """
        self._offered[link] = give
        part = _part_left(link, give, self)
        if part is None:
            return False
        # Columns that equal one another are all restricted by the keys of any: they are told apart by what is asked.
        text = _text(self.fragment, [[link.taker]])
        if text in self._sets and self._sets[text].part <= part:
            return False
        self._sets[text] = _Set(part, link, matching)
        if len(self._sets) > min(MAX_SETS, *(r.key_sets for r in self.fragment.relations)):
            del self._sets[max(reversed(self._sets), key=lambda text: self._sets[text].part)]
        return True

    def bound(self, rows: Mapping[str, int]) -> FragmentPlan:
        """The fragment as it is asked, with a text for each choice among its sets; one that is exact has its own."""
        fragment = replace(self.fragment, expected=self.alone.rows, known=self.fragment.sql in rows)
        if not self._sets:
            return fragment
        met = self._met()
        chunk = min(r.max_keys for r in self.fragment.relations)
        most = min(MAX_KEYS, max(chunk, int(self.alone.base * PAYS)))
        places = range(len(met))
        choices = [c for size in places for c in combinations(places, size + 1)]
        texts = {c: _text(self.fragment, [[link.taker for link in met[i]] for i in c]) for c in choices}
        sets = tuple(self._key_set(links, most) for links in met)
        return replace(fragment, keys=KeySource(sets, texts, min(chunk, most)))

    def _key_set(self, links: tuple[_Link, ...], most: int) -> KeySet:
        """Of columns that are asked for together, each may say which rows of their giver do not matter."""
        matching = dict.fromkeys(m for one in self._sets.values() if one.link in links for m in one.matching)
        outputs = [link.giver.output for link in links]
        return key_set(links[0].giver.fragment, outputs, most, matching=tuple(matching))

    def _met(self) -> list[tuple[_Link, ...]]:
        """The sets, each with the columns in which its giver is met: those of one meeting are asked for together.

        A column that does not pay by itself is in it too: the months of a company are fewer than all months. Where
        many more rows than values are expected of the giver, each column goes by itself.
        """
        found: list[tuple[_Link, ...]] = []
        for link in (one.link for one in self._sets.values()):
            if any(link in links for links in found):
                continue
            met = (link.giver.fragment, link.meeting)
            beside = [
                (one, give)
                for one, give in self._offered.items()
                if link.meeting is not None and (one.giver.fragment, one.meeting) == met
            ]
            links = _apart([link, *(one for one, _ in beside)])[: self._key_columns]
            fits = all(give.rows <= ROWS_A_VALUE * give.values(link.giver.output) for _, give in beside)
            found.append(links if fits and _may_meet(self.fragment, links) else (link,))
        return found

    @property
    def _key_columns(self) -> int:
        return min(len(KEY_COLUMNS), *(r.key_columns for r in self.fragment.relations))


def _apart(links: Iterable[_Link]) -> tuple[_Link, ...]:
    """The first of these that give a column each, and take one: what is met twice is not two parts of a key."""
    found = list[_Link]()
    for link in links:
        if all(link.giver.output != one.giver.output and link.taker.output != one.taker.output for one in found):
            found.append(link)
    return tuple(found)


def _named(links: list[_Link]) -> set[str]:
    """The fragments that take part in any of them."""
    return {name for link in links for name in (link.giver.fragment, link.taker.fragment)}


# ---- which columns compare


def _links(merge: exp.Query, by_id: dict[str, FragmentPlan]) -> list[_Link]:
    found = []
    for number, select in enumerate(merge.find_all(exp.Select)):
        own = {s.alias: s for s in sources(select)}
        around = _around(select)
        for part, only in _equalities(select):
            for one, other in ((part.left, part.right), (part.right, part.left)):
                giver = _place(one, {**around, **own}, by_id)
                taker = _place(other, own, by_id)
                if giver is not None and taker is not None and taker.steers and only in ("", _table(other)):
                    found.append(_Link(giver, taker, number))
        found += _memberships(select, own, by_id)
    return list(dict.fromkeys(found))


def _table(node: exp.Expr) -> str:
    return node.table if isinstance(node, exp.Column) else ""


def _around(select: exp.Select) -> dict[str, Source]:
    """The sources whose columns a subquery may read, of the selects around it."""
    found: dict[str, Source] = {}
    above = select.parent_select
    while above is not None:
        found = {**{s.alias: s for s in sources(above)}, **found}
        above = above.parent_select
    return found


def _equalities(select: exp.Select) -> Iterator[tuple[exp.EQ, str]]:
    """Equalities in WHERE and inner ON, and in the ON of a LEFT JOIN with the only side that may take."""
    where = select.args.get("where")
    parts = [(p, "") for p in conjuncts(where.this if where is not None else None)]
    for join in select.args.get("joins") or []:
        side = (join.side or "").upper()
        only = join.this.alias_or_name if side == "LEFT" else ""
        if side in ("", "LEFT"):
            parts += [(p, only) for p in conjuncts(join.args.get("on"))]
    for part, only in parts:
        if isinstance(part, exp.EQ):
            yield part, only


def _memberships(select: exp.Select, own: dict[str, Source], by_id: dict[str, FragmentPlan]) -> Iterator[_Link]:
    """Both directions of `x IN (SELECT y ..)` in WHERE."""
    where = select.args.get("where")
    for part in conjuncts(where.this if where is not None else None):
        query = part.args.get("query") if isinstance(part, exp.In) else None
        inner = query.this if isinstance(query, exp.Subquery) else query
        if not isinstance(inner, exp.Select):
            continue
        outside = _place(part.this, own, by_id)
        inside = _output(inner, inner.expressions[0].alias_or_name, by_id)
        if outside is None or inside is None:
            continue
        if outside.steers:
            yield _Link(inside, outside)
        if inside.steers:
            yield _Link(outside, inside)


def _place(column: exp.Expr, found: dict[str, Source], by_id: dict[str, FragmentPlan]) -> _Place | None:
    if not isinstance(column, exp.Column) or column.table not in found:
        return None
    source = found[column.table]
    node = source.node
    if not isinstance(node, exp.Subquery) or not isinstance(node.this, exp.Select):
        return None
    if node.args["alias"].args.get("columns") or any(node.args.get(k) for k in ("limit", "offset", "joins")):
        return None
    place = _output(node.this, column.name, by_id)
    return None if place is None else replace(place, steers=place.steers and _may_steer(source))


def _output(select: exp.Select, name: str, by_id: dict[str, FragmentPlan]) -> _Place | None:
    """Where an output of a select comes from."""
    # Not by the fragment's own output names: an equal question asked elsewhere may name them otherwise.
    read = outputs(select).get(name)
    if not isinstance(read, exp.Column):
        return None
    from_ = select.args.get("from_")
    fragment = by_id.get(from_.this.name) if from_ is not None and isinstance(from_.this, exp.Table) else None
    if fragment is not None:
        plain = not any(select.args.get(k) for k in ("joins", "where", "group", "limit", "distinct"))
        return _Place(fragment.id, int(read.name.removeprefix("c")), True) if plain else None
    place = _place(read, {s.alias: s for s in sources(select)}, by_id)
    steers = accepts(select, list(select.named_selects), exp.column(name, table="_"))
    return None if place is None else replace(place, steers=place.steers and steers)


def _may_steer(source: Source) -> bool:
    """Whether a row of a source that fails a demanded equality may be missing: no other join needs to see it."""
    side = (source.join.side or "").upper() if source.join is not None else ""
    return not source.nullable or side == "LEFT"


# ---- which of them pay


def _may_bind(link: _Link, merge: exp.Query, by_id: dict[str, FragmentPlan], types: dict[str, tuple[str, ...]]) -> bool:
    give, take = by_id[link.giver.fragment], by_id[link.taker.fragment]
    if give.id == take.id or (give.keys is not None and not give.is_exact) or take.keys is not None:
        return False
    if any(not r.mode.gives_rows or not r.max_keys for r in take.relations) or _uses(merge, take.id) != 1:
        return False
    linked = {c.name for r in take.relations for c in r.columns if c.linkage is not None}
    column = _column(link.taker, take)
    if column is None or column.name in linked:  # nobody can turn a pseudonym back to look for it
        return False
    if not types[take.id] or not types[give.id]:
        return False
    kind = types[take.id][link.taker.output]
    alike = kind in KEY_TYPES and kind == types[give.id][link.giver.output]
    return alike and not _says_the_same(link, give, take)


def _says_the_same(link: _Link, give: FragmentPlan, take: FragmentPlan) -> bool:
    """Whether all that restricts the giver is conditions on the column that gives, which the taker has on its own.

    `a.x = 5 AND a.x = b.y`: both are asked at once for 5; what a finds would tell b nothing new.
    """
    mine, others = _conditions_on(give.tree, link.giver.output)
    theirs, _ = _conditions_on(take.tree, link.taker.output)
    return bool(mine) and not others and mine <= theirs


def _conditions_on(tree: exp.Query, output: int) -> tuple[set[str], bool]:
    """The conditions of WHERE on an output's column alone, as texts about `k`; and whether anything else restricts."""
    column = tree.expressions[output].unalias() if isinstance(tree, exp.Select) else None
    if not isinstance(column, exp.Column):
        return set(), True
    where = tree.args.get("where")
    found, others = set(), any(tree.args.get(k) for k in ("joins", "having", "limit", "offset"))
    for part in conjuncts(where.this if where is not None else None):
        text = part.copy()
        columns = list(text.find_all(exp.Column))
        if isinstance(text, exp.Column) or {c.sql() for c in columns} != {column.sql()} or text.find(exp.Select):
            others = True
            continue
        for each in columns:
            each.replace(exp.column("k"))
        found.add(text.sql("trino"))
    return found, others


def _uses(merge: exp.Expr, fragment: str) -> int:
    return sum(1 for t in merge.find_all(exp.Table) if t.name == fragment)


def types_of(fragment: FragmentPlan) -> tuple[str, ...]:
    """The names of the types that a fragment's outputs have, () if its department alone can tell."""
    tables = {str(r.full_name): duck.Table("t", {c.name: c.type for c in r.columns}) for r in fragment.relations}
    try:
        compiled = duck.compile_query(parse_one(fragment.sql, dialect="trino"), tables)
    except UserError:
        return ()
    return tuple(kind.name for _, kind in compiled.columns)


def _column(place: _Place, fragment: FragmentPlan) -> exp.Column | None:
    """The column behind an output of a fragment that a restriction may stand on; None if there is none."""
    tree = fragment.tree
    if not isinstance(tree, exp.Select) or any(tree.args.get(k) for k in ("limit", "offset", "with_")):
        return None
    column = tree.expressions[place.output].unalias()
    if not isinstance(column, exp.Column) or any(has_window(p) for p in tree.expressions):
        return None
    group = tree.args.get("group")
    grouped = is_aggregate_select(tree)
    if grouped and (group is None or column.sql() not in {g.sql() for g in group.expressions}):
        return None
    return None if grouped and has_grouping_sets(tree) else column


def _part_left(link: _Link, give: Size, taker: _Wanted) -> float | None:
    """What part of the taker's rows is expected to be left by the giver's keys; None if that isn't worth a wait: for
    so many keys, or to be spared few rows for many keys."""
    values = give.values(link.giver.output)
    if values > TOO_MANY or values >= taker.alone.base:
        return None
    part = _part(link, give, taker)
    if part > PAYS:
        return None
    pays = taker.size.rows * (1 - part) >= values * KEY_COST
    return part if pays or link.giver.fragment in taker.givers else None


def _part(link: _Link, give: Size, taker: _Wanted) -> float:
    """What part of the taker's rows is expected to have a value of the giver's: of a key's values a restricted giver
    has so many, and the taker as many rows; else what holds for rows holds for their values."""
    domain = give.domains.get(link.giver.output) or taker.alone.domains.get(link.taker.output)
    return give.share if domain is None else min(1.0, give.values(link.giver.output) / domain)


# ---- the fragment with its keys


def key_set(
    giver: str, outputs: Sequence[int], most: int, once: bool = False, matching: Sequence[_Link] = ()
) -> KeySet:
    """The values of a fragment's outputs, which are together in a row. once: as often as they came. matching: only of
    rows that have a value of these givers, too."""
    columns = [exp.column(f"c{output}") for output in outputs]
    present = [exp.Not(this=exp.Is(this=column.copy(), expression=exp.Null())) for column in columns]
    among = [
        exp.column(f"c{one.taker.output}").isin(query=exp.select(f"c{one.giver.output}").from_(one.giver.fragment))
        for one in matching
    ]
    named = [exp.alias_(column, name) for column, name in zip(columns, KEY_COLUMNS, strict=False)]
    query = exp.select(*named).from_(giver).where(*present, *among).distinct(distinct=not once)
    matched = frozenset(one.giver.fragment for one in matching)
    return KeySet(query, matched | {giver}, most, None if matching else (giver, tuple(outputs)), once, matched)


def _text(fragment: FragmentPlan, takers: Iterable[Sequence[_Place]]) -> str:
    """The fragment's text with a set of keys on each of these outputs, or of these together, in their order."""
    tree = fragment.tree.copy()
    assert isinstance(tree, exp.Select)
    sets = [[tree.expressions[taker.output].unalias() for taker in places] for places in takers]
    for name, columns in zip(KEYS_TABLES, sets, strict=False):
        if len(columns) == 1:
            _restrict(tree, columns[0], name, set())
        else:
            _restrict_together(tree, columns, name)
    return tree.sql("trino", comments=False)


def _may_meet(fragment: FragmentPlan, links: Sequence[_Link]) -> bool:
    """Whether columns can be restricted together: what equals one of them would not be restricted then."""
    tree = fragment.tree
    if len(links) < 2 or not isinstance(tree, exp.Select):
        return False
    found = {s.alias: s for s in sources(tree)}
    columns = [tree.expressions[link.taker.output].unalias() for link in links]
    return not any(True for column in columns for _ in _equal_to(tree, column, found))


def _restrict_together(select: exp.Select, columns: Sequence[exp.Column], keys: str) -> None:
    """Let columns be one of the keys together, as near to the relations as all of them lead to the same."""
    found = {s.alias: s for s in sources(select)}
    source = found.get(columns[0].table) if len({column.table for column in columns}) == 1 else None
    below = None if source is None else _below(source, columns)
    if below is not None:
        _restrict_together(*below, keys)
        return
    parts = ", ".join(KEY_COLUMNS[: len(columns)])
    known = parse_one(f'SELECT {parts} FROM "{keys}"', dialect="trino")
    where = select.args.get("where")
    own = conjuncts(where.this if where is not None else None)
    one = exp.Tuple(expressions=[column.copy() for column in columns])
    set_where(select, [*own, exp.In(this=one, query=exp.Subquery(this=known))])


def _restrict(select: exp.Select, column: exp.Column, keys: str, done: set[tuple[str, str]]) -> None:
    """Let a column, and what equals it, be one of the keys: as near to the relations as `accepts` allows.

    keys: the name of their table.
    """
    done.add((column.table, column.name))
    found = {s.alias: s for s in sources(select)}
    source = found.get(column.table)
    below = None if source is None else _below(source, [column])
    if below is not None:
        _restrict(below[0], below[1][0], keys, set())
    else:
        known = parse_one(f'SELECT k FROM "{keys}"', dialect="trino")
        where = select.args.get("where")
        own = conjuncts(where.this if where is not None else None)
        set_where(select, [*own, exp.In(this=column.copy(), query=exp.Subquery(this=known))])
    for other in _equal_to(select, column, found):
        if (other.table, other.name) not in done:
            _restrict(select, other, keys, done)


def _below(source: Source, columns: Sequence[exp.Column]) -> tuple[exp.Select, list[exp.Column]] | None:
    """A derived table that takes a condition on its columns, and what these are in it; None if it is none."""
    node = source.node
    if source.nullable or not isinstance(node, exp.Subquery) or not isinstance(node.this, exp.Select):
        return None
    if node.args["alias"].args.get("columns") or any(node.args.get(k) for k in ("limit", "offset", "joins")):
        return None
    inner = node.this
    named, found = outputs(inner), list[exp.Column]()
    for column in columns:
        definition = named.get(column.name)
        if not isinstance(definition, exp.Column) or not accepts(inner, list(inner.named_selects), column):
            return None
        found.append(definition)
    return inner, found


def _equal_to(select: exp.Select, column: exp.Column, found: dict[str, Source]) -> Iterator[exp.Column]:
    for part, only in _equalities(select):
        one, other = part.left.unnest(), part.right.unnest()
        if only or not (isinstance(one, exp.Column) and isinstance(other, exp.Column)):
            continue
        if other.sql() == column.sql():
            one, other = other, one
        if one.sql() != column.sql() or {one.table, other.table} - found.keys():
            continue
        if not stand_for_each_other(one, other):
            continue
        if not found[one.table].nullable and not found[other.table].nullable:
            yield other
