"""Cut a rewritten tree into fragments: the largest subtrees that one department can answer alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp, parse_one

from catalog.errors import AccessDenied, Outcome
from catalog.exchange import KEYS_TABLES
from catalog.names import RelationName
from catalog.relation import Mode, Relation
from gateway.parse import first_select
from gateway.plan import FirstRows, FragmentPlan, KeySet, KeySource, Plan
from gateway.plan.asking import NoKeys
from gateway.plan.bind import MAX_KEYS, bind_keys, key_set
from gateway.plan.first import Limited, leave_ties, limited
from gateway.plan.verify import VERIFY, plan_verify
from gateway.plan.whole import mark_whole
from gateway.resolve import SYSTEM_TABLE
from gateway.rewrite.leaf import is_leaf
from gateway.rewrite.restrict import ONCE
from gateway.rewrite.tree import (
    KEYS,
    SOURCES,
    Source,
    conjuncts,
    departments_of,
    fresh_aliases,
    has_subquery,
    is_about,
    is_closed,
    keyed_queries,
    sources,
    tables_of,
)

__all__ = ["fragment_tree", "split"]

LOCAL = "local_"


def split(
    tree: exp.Query,
    labels: tuple[str, ...],
    relations: dict[RelationName, Relation],
    local: dict[str, pa.Table],
    notes: tuple[str, ...] = (),
    start: int = 0,
    rows: Mapping[str, int] | None = None,
) -> Plan:
    """Plan a rewritten tree; it is changed. Raises AccessDenied(MODE) where a relation's mode can't answer the shape.

    start: number of its first fragment. rows: that fragments delivered when they were asked before, by their text.

    Proof sketch. A fragment is a whole query block over relations of one department, without a column
    of any block outside it; evaluating it where the data is gives the bag that the block denotes. A
    scan delivers the columns that are read and the rows that its own conditions keep; those conditions
    are evaluated again above, so a scan can only be too wide, never too narrow (see `scan_conditions`).
    """
    cutter = _Cutter(relations, start)
    whole = cutter.whole(tree)
    holder = exp.Subquery(this=tree)
    if whole:
        standing = cutter.fragment(tree, whole)
        if len(cutter.fragments) == 1:
            return Plan(tuple(cutter.fragments), None, labels, local={}, notes=notes)
        # Its rows come in their order, and the merge hands them on as they come.
        holder = exp.Subquery(this=standing)
    else:
        cutter.descend(holder.this)
    merge = holder.this
    fragments = _shared(merge, cutter.fragments)
    few = limited(merge, fragments, relations)
    plan = _asking(merge, fragments, labels, relations, local, rows)
    if few is None:
        return replace(plan, notes=notes)
    first = _asking(few.merge, few.fragments, labels, relations, local, rows, few)
    return replace(plan, notes=notes, first=FirstRows(first, few.fragment, few.rows, few.wanted, few.once))


def _asking(
    merge: exp.Query,
    fragments: list[FragmentPlan],
    labels: tuple[str, ...],
    relations: dict[RelationName, Relation],
    local: dict[str, pa.Table],
    rows: Mapping[str, int] | None,
    few: Limited | None = None,
) -> Plan:
    """Who waits for whose keys, and which answers are kept; the merge is changed."""
    bound = bind_keys(merge, fragments, relations, rows)
    if few is not None:
        leave_ties(few)
    sets = [known for f in bound if f.keys is not None for known in f.keys.sets]
    fragments = mark_whole(bound, frozenset(n for known in sets for n in known.needs - known.matched))
    names = {f"{LOCAL}{i}": table for i, table in enumerate(local.values())}
    for query in (merge, *(known.query for known in sets)):
        _name_local(query, {name: f"{LOCAL}{i}" for i, name in enumerate(local)})
    stored = frozenset(
        {f.id for f in fragments if _uses(merge, f.id) > 1 or _in_expression(merge, f.id)}
        | {n for known in sets for n in known.needs}
        | _shared_departments(fragments)
        | ({few.fragment, *few.once} if few is not None else set())
    )
    return Plan(tuple(fragments), merge, labels, stored, names)


def fragment_tree(query: exp.Query) -> exp.Query:
    """The canonical form of a fragment: outputs c0..cn, aliases t0.. of its own. Its text parses back to it."""
    query = _renumbered(query.copy())
    _label_outputs(query)
    if not isinstance(query, exp.Select):
        columns = [exp.column(f"c{i}", table="u") for i in range(len(query.named_selects))]
        # Order and limit belong to the whole; they stay inside and the wrapper keeps their order.
        order = query.args.get("order")
        inner = exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier("u")))
        query = exp.Select(expressions=[exp.alias_(c, c.name, copy=False) for c in columns], from_=exp.From(this=inner))
        if order is not None:
            query.set("order", order.copy())
    return query


def _renumbered(query: exp.Query) -> exp.Query:
    """Number aliases within the fragment, so that equal questions have equal texts wherever they stand."""
    names: dict[str, str] = {}
    fresh = fresh_aliases(query)
    for node in query.find_all(*SOURCES):
        if node.alias and node.alias not in names:
            names[node.alias] = next(fresh)
    for node in query.find_all(*SOURCES):
        if node.alias:
            node.args["alias"].set("this", exp.to_identifier(names[node.alias]))
    for column in query.find_all(exp.Column):
        if column.table in names:
            column.set("table", exp.to_identifier(names[column.table]))
    return query


def _label_outputs(query: exp.Query) -> None:
    """Name outputs c0..cn; what ORDER BY called by its output name follows."""
    select = first_select(query)
    assert select is not None
    renamed: dict[str, str] = {}
    outputs = []
    for i, projection in enumerate(select.expressions):
        renamed.setdefault(projection.alias_or_name, f"c{i}")
        outputs.append(exp.alias_(projection.unalias(), f"c{i}", copy=False))
    select.set("expressions", outputs)
    named: exp.Expr | None = select
    while named is not None:
        order = named.args.get("order")
        for column in order.find_all(exp.Column) if order is not None else ():
            if not column.table and column.name in renamed:
                column.set("this", exp.to_identifier(renamed[column.name]))
        named = named.parent if named is not query else None


class _Cutter:
    def __init__(self, relations: dict[RelationName, Relation], start: int = 0) -> None:
        self.relations = relations
        self.start = start
        self.fragments: list[FragmentPlan] = []

    def _name(self) -> str:
        return f"f{self.start + len(self.fragments)}"

    # -- deciding --------------------------------------------------------------------------------

    def whole(self, query: exp.Expr) -> str:
        """The department that can answer `query` alone, "" if none can."""
        if not isinstance(query, exp.Query):
            return ""
        tables = list(tables_of(query))
        own = {cte.alias for cte in query.find_all(exp.CTE)}
        if any(t.meta.get(SYSTEM_TABLE) or (not t.catalog and t.name not in own) for t in tables):
            return ""
        departments = {t.catalog for t in tables if t.catalog}
        if len(departments) != 1 or any(_is_verify(n) for n in query.find_all(exp.Anonymous)):
            return ""
        if not is_closed(query):
            return ""
        modes = {self._relation(t).mode for t in tables if t.catalog}
        if Mode.aggregate in modes and not (isinstance(query, exp.Select) and self._is_aggregate_leaf(query)):
            return ""
        return departments.pop()

    def _is_aggregate_leaf(self, select: exp.Select) -> bool:
        found = sources(select)
        plain = len(found) == 1 and isinstance(found[0].node, exp.Table)
        return plain and is_leaf(select) and len(list(select.find_all(exp.Table))) == 1

    def _relation(self, table: exp.Table) -> Relation:
        return self.relations[RelationName(table.catalog, table.db, table.name)]

    # -- cutting ---------------------------------------------------------------------------------

    def handle(self, query: exp.Query) -> None:
        """Replace `query` by a select over its fragment, or look for fragments inside it.

        Raises NoKeys for a query whose answer must come once as keys, and around which nobody can be asked.
        """
        if isinstance(query.parent, exp.Subquery) and query.parent.meta.get(KEYS) == ONCE:
            raise NoKeys
        department = self.whole(query)
        if department:
            query.replace(self.fragment(query, department))
        else:
            self.descend(query)

    def descend(self, query: exp.Query) -> None:
        with_ = query.args.get("with_")
        for cte in with_.expressions if with_ is not None else ():
            self.handle(cte.this)
        if isinstance(query, exp.Subquery):
            self.handle(query.this)
        elif isinstance(query, exp.SetOperation):
            for arm in (query.left, query.right):
                self.handle(arm)
        elif isinstance(query, exp.Select):
            self._descend_select(query)

    def _descend_select(self, select: exp.Select) -> None:
        for inner in _nested(select):
            self.handle(inner)
        for source in sources(select):
            node = source.node
            if isinstance(node, exp.Table) and node.catalog and not node.meta.get(SYSTEM_TABLE):
                self._scan(select, source, node)
        equal: dict[str, list[exp.Anonymous]] = {}
        for call in _own_nodes(select):
            if isinstance(call, exp.Anonymous) and _is_verify(call):
                equal.setdefault(call.sql(), []).append(call)
        for calls in equal.values():
            self.fragments.append(plan_verify(select, calls, self._name(), self.relations))

    def fragment(self, query: exp.Query, department: str, notes: tuple[str, ...] = ()) -> exp.Select:
        """Make a fragment of `query`; returns the select that stands for it in the merge."""
        outputs = tuple(query.named_selects)
        relations = tuple(dict.fromkeys(self._relation(t) for t in tables_of(query) if t.catalog))
        query, sets = self._with_keys(query, min((r.key_sets for r in relations), default=0))
        name = self._name()
        tree = fragment_tree(query)
        text = tree.sql("trino", comments=False)
        keys = None
        if sets:
            chunk = min(MAX_KEYS, *(r.max_keys for r in relations))
            keys = KeySource(sets, {tuple(range(len(sets))): text}, chunk, exact=True)
            text = _without_keys(tree).sql("trino", comments=False)
        self.fragments.append(FragmentPlan(name, department, text, outputs, relations, keys, notes, tree=tree))
        columns = [exp.alias_(exp.column(f"c{i}", table=name), output, copy=False) for i, output in enumerate(outputs)]
        return exp.Select(expressions=columns, from_=exp.From(this=exp.to_table(name)))

    def _with_keys(self, query: exp.Query, most: int) -> tuple[exp.Query, tuple[KeySet, ...]]:
        """A query with tables of keys in place of the queries whose answers they are, which become fragments.

        most: sets that its department takes. Raises NoKeys if there are more.
        """
        if not keyed_queries(query):
            return query, ()
        query = query.copy()
        sets: dict[str, KeySet] = {}
        for subquery in keyed_queries(query):
            text, once = fragment_tree(subquery.this).sql("trino"), subquery.meta[KEYS] == ONCE
            if text not in sets:
                if len(sets) == min(most, len(KEYS_TABLES)):
                    raise NoKeys
                self.fragment(subquery.this, departments_of(subquery.this).pop())
                sets[text] = key_set(self.fragments[-1].id, (0,), MAX_KEYS, once)
            name = KEYS_TABLES[list(sets).index(text)]
            subquery.replace(exp.Subquery(this=parse_one(f'SELECT k FROM "{name}"', dialect="trino")))
        return query, tuple(sets.values())

    def _scan(self, select: exp.Select, source: Source, table: exp.Table) -> None:
        relation = self._relation(table)
        if relation.mode == Mode.aggregate:
            raise _shape_refused(relation)
        read = {c.name for c in _root(select).find_all(exp.Column) if c.table == source.alias}
        names = [c.name for c in relation.columns if c.name in read] or [relation.columns[0].name]
        scan = exp.Select(
            expressions=[exp.column(n, table=source.alias) for n in names], from_=exp.From(this=table.copy())
        )
        conditions = scan_conditions(select, source)
        if conditions:
            scan.set("where", exp.Where(this=exp.and_(*[c.copy() for c in conditions], copy=False)))
        standing = self.fragment(scan, relation.catalog, ("joined in the gateway with another department's rows",))
        table.replace(exp.Subquery(this=standing, alias=exp.TableAlias(this=exp.to_identifier(source.alias))))


def _without_keys(tree: exp.Query) -> exp.Query:
    """What is asked without any keys: it delivers no less, and is of use to those alone who only look at it."""
    tree = tree.copy()
    for part in list(tree.find_all(exp.In)):
        table = part.find(exp.Table)
        if table is not None and table.name in KEYS_TABLES:
            part.replace(exp.true())
    return tree


def scan_conditions(select: exp.Select, source: Source) -> list[exp.Expr]:
    """Conditions of a select that may filter one source's scan; they are evaluated again above.

    Proof sketch: as in `rewrite.predicates`: WHERE and inner ON for a source that is not null-extended;
    the ON of a LEFT JOIN for its right side, unless a later join null-extends that too.
    """
    found: list[exp.Expr] = []
    joins = select.args.get("joins") or []
    if not source.nullable:
        where = select.args.get("where")
        found += conjuncts(where.this if where is not None else None)
        for join in joins:
            if not (join.side or "") and join.args.get("on") is not None:
                found += conjuncts(join.args["on"])
    elif source.join is not None and (source.join.side or "").upper() == "LEFT":
        place = [id(j) for j in joins].index(id(source.join))
        if not any((j.side or "").upper() in ("RIGHT", "FULL") for j in joins[place + 1 :]):
            found += conjuncts(source.join.args.get("on"))
    return [
        part
        for part in found
        if is_about(part, source.alias) and not has_subquery(part) and not any(_is_verify(n) for n in part.walk())
    ]


def _nested(select: exp.Select) -> list[exp.Query]:
    """The queries directly inside a select: derived tables and subqueries of its expressions."""
    found: list[exp.Query] = []

    def look(node: exp.Expr) -> None:
        for child in node.iter_expressions():
            if isinstance(child, exp.With):
                continue
            if isinstance(child, exp.Query) and not isinstance(child, exp.Subquery):
                found.append(child)
            else:
                look(child)

    look(select)
    return found


def _own_nodes(select: exp.Select) -> list[exp.Expr]:
    """Nodes of a select that don't stand in a query inside it."""
    found: list[exp.Expr] = []

    def look(node: exp.Expr) -> None:
        for child in node.iter_expressions():
            if not isinstance(child, exp.Query):
                found.append(child)
                look(child)

    look(select)
    return found


def _is_verify(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() == VERIFY


def _root(node: exp.Expr) -> exp.Expr:
    while node.parent is not None:
        node = node.parent
    return node


_ONCE = (
    exp.Paren, exp.Not, exp.And, exp.Or, exp.Where, exp.Having, exp.Exists, exp.In, exp.Alias, exp.Any, exp.All, exp.EQ,
    exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Subquery, exp.Select, exp.From, exp.Join, exp.SetOperation, exp.With,
    exp.CTE, exp.Table,
)  # fmt: skip


def _in_expression(tree: exp.Expr, name: str) -> bool:
    """Whether a fragment stands below a function, CASE or operator whose text may hold its argument more than once."""
    for table in tree.find_all(exp.Table):
        node: exp.Expr | None = table if table.name == name else None
        while node is not None and node is not tree:
            if not isinstance(node, _ONCE):
                return True
            node = node.parent
    return False


def _uses(tree: exp.Expr, fragment: str) -> int:
    return sum(1 for t in tree.find_all(exp.Table) if t.name == fragment)


def _name_local(tree: exp.Expr, names: dict[str, str]) -> None:
    for table in list(tree.find_all(exp.Table)):
        if table.meta.get(SYSTEM_TABLE):
            name = names[f"{table.catalog}.{table.db}.{table.name}"]
            table.replace(exp.Table(this=exp.to_identifier(name), alias=table.args.get("alias")))


def _shared(merge: exp.Query, fragments: list[FragmentPlan]) -> list[FragmentPlan]:
    """Ask an equal question once: later fragments of the same text give way to the first.

    Proof sketch. Equal texts to one agent in one statement, for one user and purpose, denote the same
    bag; the merge keeps it as a table and reads it as often as it stands in the tree.
    """
    first: dict[tuple[str, str], str] = {}
    kept, renamed = [], {}
    for fragment in fragments:
        same = first.setdefault((fragment.department, fragment.sql), fragment.id) if fragment.keys is None else ""
        if same in ("", fragment.id):
            kept.append(fragment)
        else:
            renamed[fragment.id] = same
    _rename_tables(merge, renamed)
    return [_needing(f, renamed) for f in kept]


def _rename_tables(tree: exp.Expr, renamed: dict[str, str]) -> None:
    for table in tree.find_all(exp.Table):
        if table.name in renamed:
            table.set("this", exp.to_identifier(renamed[table.name]))
    for column in tree.find_all(exp.Column):
        if column.table in renamed:
            column.set("table", exp.to_identifier(renamed[column.table]))


def _needing(fragment: FragmentPlan, renamed: dict[str, str]) -> FragmentPlan:
    """A fragment whose keys come from fragments that may have been merged into others."""
    if fragment.keys is None or not fragment.keys.needs & renamed.keys():
        return fragment
    sets = tuple(_renamed(known, renamed) for known in fragment.keys.sets)
    return replace(fragment, keys=replace(fragment.keys, sets=sets))


def _renamed(known: KeySet, renamed: dict[str, str]) -> KeySet:
    query = known.query.copy()
    _rename_tables(query, renamed)
    places = (renamed.get(known.places[0], known.places[0]), known.places[1]) if known.places is not None else None
    return replace(known, query=query, needs=frozenset(renamed.get(n, n) for n in known.needs), places=places)


def _shared_departments(fragments: list[FragmentPlan]) -> set[str]:
    """Fragments whose department is asked more than once: read to the end, so that none waits for another."""
    seen = [f.department for f in fragments]
    return {f.id for f in fragments if seen.count(f.department) > 1}


def _shape_refused(relation: Relation) -> AccessDenied:
    dims = ", ".join(relation.dimensions) or "nothing"
    measures = ", ".join(f"sum({m})" for m in relation.measures)
    allowed = ", ".join(x for x in ("count(*)", measures) if x)
    return AccessDenied(
        f"'{relation.full_name}' answers sums only for purpose {relation.purpose}: rows and joins stay closed.",
        Outcome.MODE,
        who=relation.catalog,
        rule=f"aggregate mode, floor {relation.min_group}",
        hint=f"Ask {allowed} grouped by any of {dims}, in a query of its own or a derived table; join its result.",
    )
