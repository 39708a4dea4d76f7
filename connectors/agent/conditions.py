"""The signed statement's own conditions on a strict table, written into the fragment that reads it.

A user signs `SELECT name FROM person WHERE id = 7`; a captured gateway that holds the proof asks for every
`name`. The agent therefore looks up which rows of the table the statement can need, and asks for no others:

    each SELECT that has the table in FROM, without outer joins, gives the parts of its WHERE that compare
    columns of that table with literals; a row that fails them cannot reach the statement's answer.
    Where the table is named several times a row must pass one of them; if one has no condition, all do.
    A city table that is built of the table needs all of its rows, and so does a name that may mean either.

What an honest gateway asks for anyway it gets unchanged: such rows would have been dropped later.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from sqlglot import exp

from catalog.duck.moments import with_zone
from catalog.errors import AccessDenied, Outcome
from catalog.exchange import KEYS_TABLES
from catalog.names import MAIN, RelationName
from catalog.relation import Mode
from catalog.standards import city_tables
from connectors.agent.authorise import Access, Governed

__all__ = ["restrict"]

_CONDITION = (
    exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between,
    exp.Is, exp.Neg, exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.DataType, exp.DataTypeParam,
)  # fmt: skip
"""What a condition may be made of; `DATE '..'` beside them."""
_TIMELESS = (*exp.DataType.TEXT_TYPES, *exp.DataType.NUMERIC_TYPES, exp.DType.BOOLEAN)
"""What a text may be cast to that has nothing to do with time."""
_NAME = {"this", "db", "catalog", "alias"}
"""What a table node may hold to be a name and nothing else: no sample, no version, no pattern."""


def restrict(tree: exp.Expr, statement: exp.Expr, access: Access, zoned: bool) -> exp.Expr:
    """The fragment with the conditions of the signed statement. tree: admitted; it is not changed. zoned: moments
    without a zone lie in one that the gateway names: its user has not signed that.

    Raises AUTH for a fragment that reads a strict table in a way that no part of the statement does, and for a
    statement whose conditions mean other rows in each time zone.
    """
    found = tree.copy()
    for table in list(found.find_all(exp.Table)):
        if _names_a_query(table) or (table.name in KEYS_TABLES and not table.args.get("db")):
            continue
        relation = access.resolve(table)
        if not relation.decision.strict or relation.mode not in (Mode.masked, Mode.raw):
            continue
        condition = _condition(statement, RelationName(access.department.department, MAIN, relation.name), relation)
        if condition is None:
            continue
        name = f"{access.department.department}.{MAIN}.{relation.name}"
        if zoned and _depends_on_zone(condition, relation):
            raise _refusal(
                access, f"The question compares moments of {name} in a time zone that is not signed with it.",
                "Ask in UTC: SET TIME ZONE 'UTC'.",
            )  # fmt: skip
        select = _block(table)
        if select is None or _has_outer_join(select) or not _is_plain(table, select):
            raise _refusal(
                access, f"Table {name} is read in another way than the signed question reads it.",
                "Ask again with `atoll query`; if it stays, tell the department.",
            )  # fmt: skip
        select.where(_under(condition, table.alias_or_name), append=True, copy=False)
    return found


def _refusal(access: Access, message: str, hint: str) -> AccessDenied:
    return AccessDenied(message, Outcome.AUTH, who=access.department.department, rule="signed question", hint=hint)


def _condition(statement: exp.Expr, name: RelationName, relation: Governed) -> exp.Expr | None:
    """What a row of a relation must fulfil to matter to a statement; None if any may matter."""
    ways = []
    for table in statement.find_all(exp.Table):
        if _names_a_query(table):
            continue
        if _may_open_to(table, name):
            return None
        if not _may_name(table, name):
            continue
        select = _block(table)
        parts = [] if select is None or _has_outer_join(select) else list(_parts(select, table, relation))
        if not parts:
            return None
        ways.append(exp.and_(*parts))
    return exp.or_(*ways) if ways else None


def _depends_on_zone(condition: exp.Expr, relation: Governed) -> bool:
    """Whether moments with a zone meet moments or days without one; a text that is to have one, and names none, is
    both."""
    zoned = set[bool]()
    for column in condition.find_all(exp.Column):
        kind = relation.columns[column.name.lower()].name
        if kind.startswith(("date", "time")):
            zoned.add("zone" in kind)
    for cast in condition.find_all(exp.Cast):
        if cast.to.is_type(exp.DType.TIMESTAMPTZ):
            zoned |= {True, _names_a_zone(cast.this.name)}
        elif not cast.to.is_type(*_TIMELESS):
            zoned.add(False)
    return len(zoned) > 1


def _names_a_zone(text: str) -> bool:
    try:
        return bool(with_zone(text)[1])
    except ValueError:
        return False


def _may_name(table: exp.Table, name: RelationName) -> bool:
    """Whether a table of a statement can be that relation, whatever the session's catalog and schema are."""
    return all(
        written in ("", meant)
        for written, meant in zip(_written(table), (name.catalog, name.schema, name.table), strict=True)
    )


def _may_open_to(table: exp.Table, name: RelationName) -> bool:
    """Whether a table of a statement can be a city table that is built of that relation."""
    return any(name in city.relations and _may_name(table, city.name) for city in city_tables().values())


def _written(table: exp.Table) -> tuple[str, str, str]:
    return table.catalog.lower(), table.db.lower(), table.name.lower()


def _names_a_query(table: exp.Table) -> bool:
    """Whether a name is a WITH query's: one around it, or one before its own in the same WITH."""
    if table.args.get("db"):
        return False
    child: exp.Expr = table
    above = table.parent
    while above is not None:
        queries = above if isinstance(above, exp.With) else above.args.get("with_")
        # From the WITH itself its queries were seen already: those before the one that holds the name.
        if queries is not None and queries is not child and _is_among(table, queries.expressions, child):
            return True
        child, above = above, above.parent
    return False


def _is_among(table: exp.Table, queries: list[exp.CTE], until: exp.Expr) -> bool:
    visible = takewhile(lambda query: query is not until, queries)
    return any(query.alias.lower() == table.name.lower() for query in visible)


def _block(table: exp.Table) -> exp.Select | None:
    """The SELECT that has a table directly in its FROM; None where it stands otherwise."""
    clause = table.parent
    if not isinstance(clause, (exp.From, exp.Join)) or table.args.get("joins"):
        return None
    return clause.parent if isinstance(clause.parent, exp.Select) else None


def _is_plain(table: exp.Table, select: exp.Select) -> bool:
    """Whether a table's columns go by their own names, under a name that no other item of FROM has."""
    alias = table.args.get("alias")
    if {key for key, value in table.args.items() if value} - _NAME or (alias is not None and alias.args.get("columns")):
        return False
    items = [select.args["from_"].this, *(join.this for join in select.args.get("joins") or [])]
    return [item.alias_or_name.lower() for item in items].count(table.alias_or_name.lower()) == 1


def _has_outer_join(select: exp.Select) -> bool:
    """Whether a row that is missing could turn into one of NULLs."""
    return any(join.side or join.kind.upper() not in ("", "INNER", "CROSS") for join in select.args.get("joins") or ())


def _parts(select: exp.Select, table: exp.Table, relation: Governed) -> Iterator[exp.Expr]:
    """The conditions of a SELECT's WHERE that speak of one of its tables and of literals alone."""
    where = select.args.get("where")
    if where is None or not _is_plain(table, select):
        return
    alone = not select.args.get("joins") and not select.args.get("laterals")
    label = table.alias_or_name.lower()
    for part in _conjuncts(where.this):
        columns = list(part.find_all(exp.Column))
        own = all(
            c.name.lower() in relation.columns
            and not c.args.get("db")
            and (c.table.lower() == label if c.table else alone)
            for c in columns
        )
        if columns and own and all(_allowed(node) for node in part.walk()):
            yield part


def _conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.And):
        yield from _conjuncts(node.left)
        yield from _conjuncts(node.right)
    elif isinstance(node, exp.Paren):
        yield from _conjuncts(node.this)
    else:
        yield node


def _allowed(node: exp.Expr) -> bool:
    if isinstance(node, exp.Cast):
        return isinstance(node.this, exp.Literal)
    if isinstance(node, exp.In) and (node.args.get("query") or node.args.get("unnest") or node.args.get("field")):
        return False
    return isinstance(node, _CONDITION)


def _under(condition: exp.Expr, label: str) -> exp.Expr:
    """A condition on the fragment's own name of the table."""
    written = condition.copy()
    for column in list(written.find_all(exp.Column)):
        column.replace(exp.column(column.name.lower(), table=label))
    return exp.paren(written)
