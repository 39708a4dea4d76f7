"""Stage 1: text -> `Parsed`. One query, small enough, in Trino's dialect, or a clear refusal.

Output labels are fixed here, before anything rewrites: Trino shows a column as its author typed it
(`SELECT NationKey` -> `NationKey`) and calls an expression without a name `_col` and its place, which
is known only when stars are expanded (`resolve`).
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError, TokenError
from sqlglot.tokenizer_core import Token

from catalog import duck
from catalog.errors import Location, Outcome, UserError
from gateway.plan.verify import VERIFY
from gateway.statements import syntax_error

__all__ = [
    "LABEL",
    "WRITTEN",
    "Parsed",
    "first_select",
    "location_of",
    "parse",
    "parse_query",
]

MAX_DEPTH = 500
MAX_ARMS = 150
LABEL = "label"
"""Key under which a projection's `meta` remembers the label its author wrote."""
WRITTEN = "written"
"""Key under which an identifier's `meta` remembers its spelling, if that isn't lower case."""

SESSION_FUNCTIONS = ("version", "current_timezone", "current_groups")
"""Functions that `metadata.bind_session` answers."""

REFUSED_NODES: dict[type[exp.Expr], str] = {
    exp.Pivot: "PIVOT",
    exp.TableSample: "TABLESAMPLE",
    exp.MatchRecognize: "MATCH_RECOGNIZE",
    exp.Lock: "FOR UPDATE",
    exp.Into: "SELECT INTO",
    exp.Placeholder: "a parameter outside EXECUTE",
    exp.Parameter: "a parameter outside EXECUTE",
    exp.SessionParameter: "a session variable",
    exp.Hint: "a hint",
    exp.Version: "time travel",
    exp.Command: "a statement inside a query",
    exp.DDL: "DDL",
    exp.DML: "a statement that writes",
    exp.PropertyEQ: "a row in braces, which Trino writes ROW(..),",
}


@dataclass(frozen=True)
class Parsed:
    """sql: as received. tree: one query, identifiers in lower case, labels in `meta`."""

    sql: str
    tree: exp.Query


def parse(sql: str) -> Parsed:
    """Parse one query. Raises UserError: TOO_LARGE, SYNTAX, STATEMENT or NODE, with its place in the text."""
    return Parsed(sql, parse_query(sql))


def parse_query(sql: str) -> exp.Query:
    """The tree of one query, checked and normalised. See `parse`."""
    tokens = _tokens(sql)
    tree = _parse_one(sql, tokens)
    _check_depth(tree)
    _check_nodes(tree)
    duck.settle_literals(tree, tokens)
    named = {a.name.lower() for a in tree.find_all(exp.TableAlias) if a.name}
    duck.check_functions(tokens, named, extra=(VERIFY, *SESSION_FUNCTIONS))
    _open_brackets(tree)
    for group in tree.find_all(exp.Group):
        _open_group(group)
    _label(tree)
    _spell_out_truth(tree)
    _select_values(tree)
    for node in tree.walk():
        node.pop_comments()
    for identifier in tree.find_all(exp.Identifier):
        if identifier.this != identifier.this.lower():
            identifier.meta[WRITTEN] = identifier.this
        identifier.set("this", identifier.this.lower())
        identifier.set("quoted", False)
    _bind_parameters(tree)
    return tree


def _bind_parameters(tree: exp.Query) -> None:
    """A parameter of a lambda in other letters than where it is declared: sqlglot took it for a column; in place."""
    for one in tree.find_all(exp.Lambda):
        names = {parameter.name for parameter in one.expressions}
        for column in [c for c in one.this.find_all(exp.Column) if c.parts[0].name in names]:
            column.replace(column.to_dot() if column.table else column.this)


def _spell_out_truth(tree: exp.Query) -> None:
    """`x IS TRUE` as `x IS NOT DISTINCT FROM TRUE`, in place.

    sqlglot writes the former in Trino's dialect as `x`, so `x IS NOT TRUE` as `NOT x`, which loses NULLs.
    """
    for test in list(tree.find_all(exp.Is)):
        if isinstance(test.expression, exp.Boolean):
            test.replace(exp.NullSafeEQ(this=test.this, expression=test.expression))


def _select_values(tree: exp.Query) -> None:
    """`x IN (VALUES ..)` as `x IN (SELECT * FROM (VALUES ..) AS v)`, `> ALL (VALUES ..)` likewise, in place: sqlglot
    takes them for a list and for a function."""
    for values in list(tree.find_all(exp.Values)):
        above = values.parent
        if values.alias or not isinstance(above, (exp.In, exp.Anonymous)) or above.expressions != [values]:
            continue
        query = _selected(values.copy())
        if isinstance(above, exp.In):
            above.set("expressions", None)
            above.set("query", query.subquery(copy=False))
        elif above.name.lower() in ("all", "some"):
            above.replace((exp.All if above.name.lower() == "all" else exp.Any)(this=query))


def too_deep() -> UserError:
    """For what the limits above let through and the stack did not."""
    return UserError("The statement nests too deeply.", Outcome.TOO_LARGE, rule="nesting")


def _tokens(sql: str) -> list[Token]:
    """The statement's tokens, within the limits that keep the parser from hanging or overflowing."""
    try:
        return duck.scan(sql)
    except UserError as bad:
        if isinstance(bad.__cause__, TokenError):
            raise syntax_error(sql, bad.__cause__) from None
        raise


def _parse_one(sql: str, tokens: list[Token]) -> exp.Query:
    try:
        trees = sqlglot.parse(sql, dialect="trino", error_level=ErrorLevel.IMMEDIATE)
    except (ParseError, TokenError) as bad:
        raise syntax_error(sql, bad) from None
    except RecursionError:
        raise too_deep() from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        # sqlglot's builders raise the plain errors on some malformed input.
        raise UserError("The statement cannot be parsed.", Outcome.SYNTAX, rule="syntax") from None
    found = [t for t in trees if t is not None]
    if len(found) != 1 or len(trees) != 1:
        raise UserError(
            "One statement at a time: nothing may follow a `;`." if found else "The statement is empty.",
            Outcome.SYNTAX,
            rule="one statement",
        )
    tree = found[0]
    while isinstance(tree, (exp.Paren, exp.Subquery)) and not tree.args.get("alias") and tree.this:
        if isinstance(tree, exp.Subquery) and any(tree.args.get(k) for k in ("order", "limit", "offset", "with_")):
            break
        tree = tree.this
    if isinstance(tree, exp.Values):
        tree = _selected(tree)
    if isinstance(tree, exp.Subquery):
        tree = exp.select("*").from_(tree)
    if isinstance(tree, exp.Select) and not tree.expressions:
        raise UserError("The statement ends too early: nothing is selected.", Outcome.SYNTAX, rule="syntax")
    if not isinstance(tree, (exp.Select, exp.SetOperation)):
        raise UserError(
            f"atoll only reads: {tokens[0].text.upper()} is not accepted.",
            Outcome.STATEMENT,
            rule="statement kinds",
            hint="Accepted: SELECT, WITH, VALUES, TABLE, SHOW, DESCRIBE, EXPLAIN, PREPARE, EXECUTE, USE, SET SESSION.",
        )
    return tree


def _selected(values: exp.Values) -> exp.Select:
    """`VALUES .. ORDER BY .. LIMIT ..` as `SELECT * FROM (VALUES ..) AS v ORDER BY .. LIMIT ..`."""
    clauses = {key: values.args.get(key) for key in ("order", "limit", "offset")}
    for key in clauses:
        values.set(key, None)
    select = exp.select("*").from_(values if values.alias else exp.alias_(values, "v", table=True))
    for key, clause in clauses.items():
        select.set(key, clause)
    return select


def _check_depth(tree: exp.Expr) -> None:
    """Refuse what would exhaust the stack later: chains of operators and of UNIONs are deep trees."""
    level: list[exp.Expr] = [tree]
    depth = arms = 0
    while level:
        depth += 1
        arms += any(isinstance(node, exp.SetOperation) for node in level)
        if depth > MAX_DEPTH or arms > MAX_ARMS:
            raise UserError(
                "The statement chains too many operators or UNIONs.",
                Outcome.TOO_LARGE,
                rule=f"depth {MAX_DEPTH}, {MAX_ARMS} UNIONs",
                hint="Use IN (..) for a chain of ORs, VALUES for a chain of UNIONs.",
            )
        level = [child for node in level for child in node.iter_expressions()]


def _check_nodes(tree: exp.Expr) -> None:
    for node in tree.walk():
        for kind, words in REFUSED_NODES.items():
            if isinstance(node, kind):
                raise UserError(f"{words} is not supported.", Outcome.NODE, rule="node types")
        if isinstance(node, exp.With) and node.args.get("recursive"):
            raise UserError("WITH RECURSIVE is not supported.", Outcome.NODE, rule="node types")
        if isinstance(node, exp.Join):
            _check_join(node)
        if isinstance(node, exp.With):
            _check_with(node)


def _check_with(with_: exp.With) -> None:
    names = [cte.alias.lower() for cte in with_.expressions]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"WITH query name '{name}' specified more than once.", Outcome.SEMANTIC, rule="names")


def _check_join(join: exp.Join) -> None:
    """Refuse joins whose condition or reach sqlglot would guess: Trino's own words for NATURAL."""
    kind = " ".join(w.upper() for w in (join.method, join.kind) if w and w.upper() not in ("INNER", "OUTER", "CROSS"))
    if kind:
        raise UserError(
            f"{kind.capitalize()} join not supported.",
            Outcome.NODE,
            rule="node types",
            hint="Write JOIN .. ON or USING.",
        )


def _open_brackets(tree: exp.Query) -> None:
    """`FROM (a JOIN b ON ..) JOIN c`: brackets round the first joins change nothing. Others are refused.

    Brackets on the right would need the joins inside to come first, which nothing after this expects.
    """
    for select in tree.find_all(exp.Select):
        for item in (select.args.get("from_"), *(select.args.get("joins") or [])):
            while item is not None and isinstance(item.this, exp.Subquery) and isinstance(item.this.this, exp.Table):
                _open(item, select)
    for table in tree.find_all(exp.Table):
        if table.args.get("joins"):
            raise UserError(
                "A join in brackets on the right side of another join is not supported.",
                Outcome.NODE,
                rule="node types",
                hint="Write it as (SELECT .. FROM .. JOIN ..) AS name, or in WITH.",
            )


def _open(item: exp.Expr, select: exp.Select) -> None:
    """Take the brackets off `(table)`, and off `(table JOIN ..)` if it is the first FROM item."""
    brackets: exp.Subquery = item.this
    table: exp.Table = brackets.this
    inside = [*(table.args.get("joins") or []), *(brackets.args.get("joins") or [])]
    if brackets.args.get("alias") is not None:
        if inside:
            raise UserError("A join in brackets has no name.", Outcome.NODE, rule="node types")
        table.set("alias", brackets.args["alias"])
    if isinstance(item, exp.From):
        table.set("joins", None)
        select.set("joins", [*inside, *(select.args.get("joins") or [])])
    else:
        table.set("joins", inside or None)
    item.set("this", table)


def _open_group(group: exp.Group) -> None:
    """`GROUP BY (x, y)` as `GROUP BY x, y`, and `GROUP BY ()` as the one group of all rows, also of none; in place.

    Raises UserError for DISTINCT over grouping sets, of which no engine here leaves out those that repeat.
    """
    if group.args.get("all") is False and group.find(exp.Rollup, exp.Cube, exp.GroupingSets):
        raise UserError("GROUP BY DISTINCT over grouping sets is not supported.", Outcome.NODE, rule="node types")
    if not group.expressions:
        return
    group.set("all", None)  # ALL says what is so anyway, DISTINCT what is so of one list of keys
    keys: list[exp.Expr] = []
    for item in group.expressions:
        bare = item.this if isinstance(item, exp.Paren) else item
        keys += item.expressions if isinstance(item, exp.Tuple) else [bare]
    group.set("expressions", keys or [exp.GroupingSets(expressions=[exp.Tuple()])])


def _label(tree: exp.Query) -> None:
    """Remember what each outermost column is called, as its author wrote it; "" if it has no name."""
    first = first_select(tree)
    for projection in first.expressions if first is not None else ():
        if isinstance(projection, exp.Alias):
            projection.meta[LABEL] = projection.args["alias"].this
        elif not projection.is_star:
            projection.meta[LABEL] = projection.name if _is_name(projection) else ""


def _is_name(node: exp.Expr) -> bool:
    """A column, or a field of one: what shows under its own name."""
    return isinstance(node, exp.Column) or (isinstance(node, exp.Dot) and _is_name(node.this))


def first_select(query: exp.Expr) -> exp.Select | None:
    """The select that names a query's outputs: itself, or the first arm of a set operation."""
    while isinstance(query, (exp.SetOperation, exp.Subquery)):
        query = query.this
    return query if isinstance(query, exp.Select) else None


def location_of(node: exp.Expr) -> Location | None:
    """Where a node's name stands in the user's text, if the tokenizer noted it."""
    for found in node.find_all(exp.Identifier):
        line, col = found.meta.get("line"), found.meta.get("col")
        if line and col:
            return Location(int(line), max(1, int(col) - len(found.name) + 1))
    return None
