"""Proof that the statements would notice a wrong planner: each mutation breaks one line of one proof.

A mutation is a piece of the source as it stands and what takes its place. The mutated module is compiled
and its code put under the functions that everybody already holds; at least one statement must then differ
from the pooled answer, or fail. A mutation whose text is no longer in the source fails too.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import duckdb
import pytest
from sqlglot.errors import SqlglotError

from catalog.errors import CityError
from gateway.plan import asking, bind, first, leading, split, verify
from gateway.resolve import Resolved
from gateway.rewrite import (
    apart,
    colocate,
    ctes,
    dates,
    decorrelate,
    disjunctions,
    eager,
    equalities,
    existential,
    filters,
    flatten,
    groups,
    kinds,
    leaf,
    optional,
    own,
    predicates,
    prune,
    restrict,
    shared,
    tree,
)
from tests.differential.corpus import STATEMENTS, Statement
from tests.differential.harness import Rows, as_written, guessed_stars, plan_of, resolved, rows_of, run, same
from tests.differential.keyed import HONEST, pooled_once, tried, wanted
from tests.differential.world import CITY


@dataclass(frozen=True)
class Mutation:
    """name: the wrong belief. first: what the statement's id begins with that is tried first.

    also: a second check that must fall. by_keys: it is about the plan that is tried with keys. stars: it is about keys
    of rows that others match, which are guessed to be what pays.
    """

    name: str
    module: ModuleType
    old: str
    new: str
    first: str = ""
    also: tuple[str, str] = ("", "")
    by_keys: bool = False
    stars: bool = False


MUTATIONS = (
    Mutation("what is computed of integers is one", kinds,
             "return _widest({sure_type(operand, lengths) for operand in node.iter_expressions()})",
             "return INTEGERS[2]",
             "set_operations: a condition above arms of computed"),
    Mutation("what is one of several is of the first one's type", kinds,
             "return found.pop() if len(found) == 1 else _widest(found)", "return sorted(found)[0]",
             "set_operations: a condition above arms of choices"),
    # ---- dates as written
    Mutation("a month has as many days as any", dates,
             "min(day.day, _days(first))", "min(day.day, 28)",
             "dates: a month later"),
    Mutation("a week begins on Sunday", dates,
             "timedelta(days=day.weekday())", "timedelta(days=day.isoweekday() % 7)",
             "dates: the first of"),
    Mutation("an hour is a day", dates,
             "if unit in DAYS:\n        return day + timedelta(days=count * DAYS[unit])",
             "if unit not in MONTHS:\n        return day + timedelta(days=count * DAYS.get(unit, 1))",
             "dates: a day of hours"),
    Mutation("a difference is a sum", dates,
             "node.right.unnest(), -1)", "node.right.unnest(), 1)",
             "dates: months and days"),
    # ---- conditions go down
    Mutation("WHERE filters a null-extended side before the join", predicates,
             "sources(select) if not s.nullable}\n    kept = []", "sources(select)}\n    kept = []",
             "outer_joins: derived table on the left side of a right"),
    Mutation("ON of a RIGHT or FULL JOIN filters like WHERE", predicates,
             'if side not in ("", "LEFT"):\n            continue', "if False:\n            continue",
             "outer_joins: full join of a"),
    Mutation("ON of a LEFT JOIN filters its left side", predicates,
             "if not side:", "if True:",
             "outer_joins: derived table on the left side of a left"),
    Mutation("a condition moves below LIMIT", predicates,
             'if any(query.args.get(k) for k in ("limit", "offset", "fetch")):', "if False:",
             "derived: a condition above an offset"),
    Mutation("a condition moves below a window", predicates,
             "any(has_window(p) or has_subquery(p) for p in query.expressions)", "False",
             "windows: the first row of each group"),
    Mutation("a condition on an aggregate becomes WHERE", predicates,
             "return all(defined[c.name] in keys", "return True or all(defined[c.name] in keys",
             "derived: a condition on an"),
    Mutation("a condition moves below an aggregation without groups", predicates,
             "if group is None or has_grouping_sets(query):\n        return False",
             "if group is None:\n        return True",
             "derived: a condition above an aggregation without groups"),
    Mutation("a condition filters one arm of a set operation only", predicates,
             "        _put(_arm(query.right), alias, part, names)\n", "",
             "set_operations: a condition above a union goes"),
    Mutation("a condition means the same in arms of other types", predicates,
             'return len(kinds) == 1 and "" not in kinds', "return True",
             "set_operations: a condition above arms of different types"),
    Mutation("a type is what the parser guesses", kinds,
             "return _widest({sure_type(operand, lengths) for operand in node.iter_expressions()})",
             'return node.type.sql("trino")',
             "set_operations: a condition above arms of different scales"),
    Mutation("texts of any length compare alike", predicates,
             "lengths = has_char(part)", "lengths = False",
             "set_operations: a padded text"),
    Mutation("all texts are one type", kinds,
             "kind.is_type(*TEXTS) and not lengths", "kind.is_type(*TEXTS, *CHARS)",
             "set_operations: a condition above arms whose"),
    Mutation("arms of a set operation are matched by name", predicates,
             "names = names or list(query.named_selects)", "names = None",
             "set_operations: a condition above a union goes"),
    Mutation("a column stands for what it is defined as, without brackets", tree,
             "return exp.paren(found, copy=False) if compound else found", "return found",
             "derived: a condition that multiplies"),
    # ---- derived tables open
    Mutation("a join opens under a later RIGHT JOIN", flatten,
             'if any(s not in ("", "LEFT") for s in later):', "if False:",
             "aggregates: the same, with a later right"),
    Mutation("an opened join loses its WHERE", flatten,
             "if inner_where is not None:", "if False:",
             "aggregates: aggregates of a projection over a join"),
    Mutation("a join with LIMIT opens", flatten,
             'closed = ("distinct", "limit", "offset", "order",', 'closed = ("distinct",',
             "aggregates: aggregates of a projection over a join with"),
    Mutation("a join with DISTINCT opens", flatten,
             'closed = ("distinct", "limit",', 'closed = ("limit",',
             "aggregates: aggregates of distinct"),
    Mutation("an aggregation over a join opens", flatten,
             "or is_aggregate_select(query) or", "or",
             "aggregates: aggregate of"),
    Mutation("GROUP BY takes a constant for what it is", flatten,
             "if _sorts_by_constant(select, first.alias, definitions):", "if False:",
             "aggregates: the same, grouped"),
    Mutation("two keys of one definition are one", flatten,
             " and not has_grouping_sets(select):", ":",
             "aggregates: cube of a"),
    # ---- outputs go
    Mutation("DISTINCT ignores outputs that nobody reads", prune,
             'if select.args.get("distinct") is not None:', "if False:",
             "derived: DISTINCT"),
    Mutation("OFFSET counts what DISTINCT leaves out", prune,
             'if query.args.get("distinct") is not None and query.args.get("offset") is not None:', "if False:",
             "subqueries: EXISTS of distinct"),
    Mutation("ORDER BY does not need its outputs", prune,
             "used | named]", "used]",
             "derived: order by an"),
    Mutation("an aggregation without its aggregates is still one", prune,
             "if grouped and not is_aggregate_select(select):", "if False:",
             "derived: only a constant of an aggregation without groups is"),
    # ---- CTEs
    Mutation("a CTE that is used twice stands where it is used first", ctes,
             "if len(uses) > 1:", "if False:",
             "ctes: a CTE used twice"),
    Mutation("what is asked of a WITH query filters it where it may be missing", shared,
             "found[0].nullable or not", "not",
             "ctes: one department's sums, null"),
    Mutation("a WITH query that moves leaves nobody behind who names it", shared,
             "if not inside or inside + 1 != sum(1 for t in select.find_all(exp.Table) if _names(t, cte)):",
             "if not inside:",
             "ctes: one department's sums, named a third"),
    Mutation("a question about a WITH query speaks of no other row", shared,
             "is_about(part, alias) and all(", "all(",
             "ctes: one department's sums, asked"),
    # ---- partial sums
    Mutation("counts are combined by counting", eager,
             "combined = FINAL[type(bare)](", "combined = type(bare)(",
             "aggregates: sum"),
    Mutation("a sum of no counts is 0 by itself", eager,
             "if isinstance(bare, exp.Count) and not grouped:", "if False:",
             "aggregates: the same where"),
    Mutation("a null-extended source is summed before the join", eager,
             "source is None or source.nullable or", "source is None or",
             "aggregates: left join: sums of the null-extended"),
    Mutation("rows that may be missing are counted before the join", eager,
             "if not s.nullable and _is_summable", "if _is_summable",
             "aggregates: rows counted alone, the null-extended",
             ("source is None or source.nullable or", "source is None or")),
    Mutation("a group of nothing is a group", eager,
             "or (group is not None and not keyed)", "",
             "aggregates: cross join of an empty relation under sums, grouped"),
    Mutation("partial sums forget the conditions of their source", eager,
             "set_where(inner, [p.copy() for p in own])", "set_where(inner, [])",
             "aggregates: the same where"),
    Mutation("partial sums of distinct values add up", eager,
             "or isinstance(bare.this, exp.Distinct)", "",
             "aggregates: sum distinct without"),
    Mutation("arrays of a summed source can still be unnested", eager,
             'return not any(source.alias in aliases_in(j.this) for j in select.args["joins"])', "return True",
             "aggregates: unnested"),
    Mutation("a branch of CASE is an expression", eager,
             "if isinstance(node, exp.If):", "if False:",
             "aggregates: two",
             ("if not all(key.is_type(*EXACT) for key in keyed.values()):", "if False:")),
    Mutation("a part of a lambda is an expression", eager,
             "exp.Lambda, exp.Try, exp.Escape", "exp.Try, exp.Escape",
             "aggregates: parts of a lambda"),
    Mutation("a part of TRY is an expression", eager,
             "exp.Lambda, exp.Try, exp.Escape", "exp.Lambda, exp.Escape",
             "aggregates: parts of TRY"),
    Mutation("a pattern is one without its ESCAPE", eager,
             "exp.Lambda, exp.Try, exp.Escape", "exp.Lambda, exp.Try",
             "aggregates: parts of a pattern"),
    Mutation("equal keys are one value", eager,
             "if not all(key.is_type(*EXACT) for key in keyed.values()):", "if False:",
             "aggregates: two"),
    Mutation("a sum may fail for rows that meet nothing", eager,
             "or not all(map(is_calm, called.values()))", "",
             "aggregates: rows"),
    Mutation("a key may fail for rows that meet nothing", eager,
             "and _is_value(node) and is_calm(node)", "and _is_value(node)",
             "aggregates: what"),
    # ---- sums that are taken apart
    Mutation("parts of a sum count where another part of it is NULL", apart,
             "for text, c in own.items() if text not in read", "for text, c in own.items() if False",
             "sums_apart: where a column"),
    Mutation("what is subtracted is added", apart,
             "is_less is not isinstance(inner, exp.Sub)", "is_less",
             "sums_apart: a difference"),
    Mutation("less times less is less", apart,
             "less is not fewer", "less or fewer",
             "sums_apart: a factor of both"),
    Mutation("large numbers are added up before they are subtracted", apart,
             " or any(n.is_type(exp.DType.BIGINT) for n in inside)", "",
             "sums_apart: large numbers"),
    Mutation("integers are multiplied that the statement does not multiply", apart,
             "is_large = len(mine) > 1 or any(", "is_large = any(",
             "sums_apart: products of large"),
    Mutation("integers are multiplied before a decimal", apart,
             "sorted(factors, key=_is_decimal, reverse=True)", "factors",
             "sums_apart: the same beside"),
    Mutation("what takes the place of NULL is a product", apart,
             "if not isinstance(above, exp.Sum):", "if False:",
             "sums_apart: doubles"),
    # ---- joins of one department
    Mutation("a join in the department keeps no condition of its own", colocate,
             "set_where(inner, conditions)", "pass",
             "joins: two of one department on its"),
    Mutation("what an outer join may extend joins before it", colocate,
             "[s for s in found if not s.nullable]", "found",
             "joins: a key before"),
    Mutation("a condition that joins a group to others is lost", colocate,
             "set_where(select, [*above, *(p for", "set_where(select, [*(p for",
             "joins: a key inside"),
    # ---- groups beside what is asked of all rows
    Mutation("the count of all rows is the count of the groups", groups,
             "return FINAL[type(node)](this=", "return type(node)(this=",
             "aggregates: groups beside the count of all"),
    Mutation("whatever is summed is the groups' sum", groups,
             "or _rows(query, renamed) != _rows(select, {})", "",
             "aggregates: groups beside the sum of other"),
    Mutation("a subquery that reads the group's key stands above it", groups,
             "return bool(sources(select)) and all(map(is_closed, inner))", "return True",
             "aggregates: groups beside the count of their"),
    # ---- aggregate leaves
    Mutation("a leaf loses its HAVING", leaf,
             "if having is not None:", "if False:",
             "modes: expressions"),
    Mutation("a window's function is computed by the grouping", leaf,
             "None if _is_window_function(node) or _is_below(node) else names", "None if _is_below(node) else names",
             "modes: a window with"),
    # ---- scans and fragments
    Mutation("a scan of a null-extended side is filtered by WHERE", split,
             "if not source.nullable:", "if True:",
             "outer_joins: left join, rows"),
    Mutation("a scan is filtered by every ON", split,
             'if not (join.side or "") and join.args', "if join.args",
             "outer_joins: left join, condition on the left side in ON"),
    Mutation("a correlated subquery is a question of its own", split,
             "if not is_closed(query):", "if False:",
             "subqueries: EXISTS, correlated"),
    Mutation("a stream may be read twice", split,
             "if _uses(merge, f.id) > 1", "if _uses(merge, f.id) > 99",
             "bind: giver and taker in arms"),
    Mutation("ORDER BY does not follow its renamed outputs", split,
             "if not column.table and column.name in renamed:", "if False:",
             "names: quoted names in a union of"),
    # ---- bind keys
    Mutation("keys go to the preserved side of a LEFT JOIN", bind,
             'only = join.this.alias_or_name if side == "LEFT" else ""', 'only = ""',
             "bind: the taker would"),
    Mutation("NOT IN drops what is not among the keys", bind,
             "query = part.args.get(\"query\") if isinstance(part, exp.In) else None",
             "query = part.find(exp.In) and part.find(exp.In).args.get(\"query\")\n"
             "        part = part.find(exp.In) if query else part",
             "reductions: NOT IN"),
    Mutation("keys go below a LIMIT", bind,
             '("limit", "offset", "with_")', '("offset",)',
             "bind: the taker fetches"),
    Mutation("keys go below a window", bind,
             "or any(has_window(p) for p in tree.expressions)", "",
             "bind: the taker has a window"),
    Mutation("NULL is a key", bind,
             ".from_(giver).where(*present, *among)", ".from_(giver).where(*among)",
             "bind: a restricted"),
    Mutation("an equal question names its outputs equally", bind,
             'int(read.name.removeprefix("c"))', "fragment.outputs.index(name)",
             "bind: one question asked twice, its"),
    Mutation("a set of keys restricts another set's column", bind,
             "for taker in places] for places in takers]", "for taker in places] for places in reversed([*takers])]",
             "bind: two sets: both columns are texts"),
    Mutation("all sets have one table", bind,
             "zip(KEYS_TABLES, sets, strict=False)", "zip(KEYS_TABLES[:1] * 3, sets, strict=False)",
             "bind: two sets: both columns are texts"),
    Mutation("a set is what another column of its giver holds", bind,
             "else (giver, tuple(outputs)), once", "else (giver, (0,) * len(outputs)), once",
             "bind: two sets: two columns of one giver, crosswise",
             ('exp.column(f"c{output}") for', 'exp.column("c0") for')),
    Mutation("a giver that is read twice gives pairs", bind,
             "if _uses(merge, link.giver.fragment) == 1 else replace(link, meeting=None) for", "for",
             "bind: pairs: a giver that is read twice"),
    Mutation("the parts of a key may stand crosswise", bind,
             'for output in outputs]\n    present', 'for output in outputs[::-1]]\n    present',
             "bind: three columns"),
    Mutation("whoever gives may still be told", bind,
             "        del waiting[settled.fragment.id]\n", "",
             "bind: a chain",
             ("    while waiting:\n        settled", "    for _ in range(2 * len(waiting)):\n        settled")),
    Mutation("rows of a giver match by whatever column", bind,
             'exp.column(f"c{one.taker.output}").isin', 'exp.column("c0").isin',
             "bind: a star", stars=True),
    Mutation("rows of a giver match what others give", bind,
             'exp.select(f"c{one.giver.output}").from_', 'exp.select("c0").from_',
             "bind: a star", stars=True),
    Mutation("who is matched need not have been read", bind,
             "matched | {giver}", "frozenset({giver})",
             "bind: a star", stars=True),
    Mutation("who is matched may wait for the taker", bind,
             "and not _waits(name, link.taker.fragment, wanted)", "",
             "bind: a star", stars=True),
    Mutation("a giver takes of whoever gives, wherever it stands", bind,
             "        if one.taker.fragment != link.giver.fragment or name in giver.givers:\n            continue\n",
             "        if name in giver.givers or name == link.giver.fragment:\n            continue\n"
             "        one = _Link(one.giver, one.taker if one.taker.fragment == link.giver.fragment else link.giver)\n",
             "bind: a star", stars=True),
    # ---- what follows from conditions
    Mutation("one branch of an OR holds of every row", disjunctions,
             "        if all(own):", "        own = [b for b in own if b][:1]\n        if own:",
             "reductions: what every branch"),
    Mutation("an OR is said by what its branches say of one source", disjunctions,
             "return [*found, whole]", "return found",
             "reductions: what every branch"),
    Mutation("what is equal is equal in any scale", kinds,
             'and "" != sure_type(one) == sure_type(other)', "and one.type == other.type",
             "reductions: a text of what"),
    Mutation("what the parser guesses a text to be", kinds,
             'and "" != sure_type(one) == sure_type(other)', "and one.type == other.type",
             "reductions: an aggregate of what equals a padded text"),
    Mutation("what may be missing is equal", equalities,
             "sources(select) if not s.nullable}", "sources(select)}",
             "reductions: an equality that a later"),
    # ---- subqueries
    Mutation("every aggregate of nothing is NULL", decorrelate,
             "type(c) in NULL_OF_NOTHING and", "True and",
             "reductions: a count for each row"),
    Mutation("whatever is computed of NULL is NULL", decorrelate,
             "id(n) in inside or isinstance(n, STRICT)", "True",
             "reductions: COALESCE of nothing"),
    Mutation("a key may be met by less", decorrelate,
             "if not isinstance(part, exp.EQ):\n        return None", "",
             "reductions: an aggregate of what"),
    Mutation("a subquery's condition filters what may be missing", own,
             "if source.nullable or not home:", "if not home:",
             "reductions: NOT EXISTS of a source"),
    Mutation("a limit chooses among distinct rows", existential,
             "any(select.args.get(k) for k in closed) or", "",
             "reductions: IN a limited"),
    Mutation("a row without a partner counts for nothing", optional,
             "1 if isinstance(node.this, exp.Star) else 0", "0",
             "reductions: what a LEFT JOIN"),
    Mutation("a condition on what is counted stays above", optional,
             "    set_where(inner, [p.copy() for p in conditions])\n", "",
             "reductions: what a LEFT JOIN"),
    Mutation("a sum may read what takes the place of NULL", optional,
             "return isinstance(call.this, exp.Column) and call.this.table == alias", "return True",
             "reductions: the sum of what"),
    Mutation("what may be missing is filtered first", filters,
             "if source.nullable or not isinstance", "if not isinstance",
             "outer_joins: left join, rows"),
    Mutation("the ON of an outer join filters", filters,
             "if not join.side and join.args", "if join.args",
             "outer_joins: left join, condition on the left side in ON"),
    # ---- first rows
    Mutation("the first rows are always enough", first,
             "return delivered[first.fragment] < first.rows or (is_led and found >= first.wanted)", "return True",
             "first_rows: none"),
    Mutation("any row out of the first rows is enough", first,
             "found >= first.wanted", "found > 0",
             "first_rows: too few"),
    Mutation("what ties with the last row counts", first,
             "if not few.by:", "if True:",
             "first_rows: another"),
    Mutation("NULLs are last", first,
             'desc=like.args.get("desc"), nulls_first=like.args.get("nulls_first")', 'desc=like.args.get("desc")',
             "first_rows: NULLs first"),
    Mutation("all orders rise", first,
             'desc=like.args.get("desc"), ', "",
             "first_rows: the first rows of"),
    Mutation("what an outer join may extend leads", leading,
             "nullable = {s.alias for s in sources(merge.select) if s.nullable}", "nullable: set[str] = set()",
             "first_rows: the right side of a left"),
    Mutation("a question that is read twice may be cut short", leading,
             "if sum(1 for t in select.find_all(exp.Table) if t.name == led.fragment.id) != 1:", "if False:",
             "first_rows: both"),
    # ---- first groups
    Mutation("what comes twice counts once", first,
             "(is_led and found >= first.wanted)", "found >= first.wanted",
             "first_groups: a key that"),
    Mutation("one row of a group decides where it stands", leading,
             "return bool(by) and all(", "return bool(by) or all(",
             "first_groups: groups of the merge hold"),
    Mutation("what an outer join says holds of all rows", leading,
             "if not all(is_plain_join(join) and not join.side for join in joins):", "if False:",
             "first_groups: rows without"),
    Mutation("what nothing is known of adds no row to a group", leading,
             "while left:", "while left & merge.fragments.keys():",
             "first_groups: a third side multiplies",
             ("if not all(is_plain_join(join) and not join.side for join in joins):", "if False:")),
    Mutation("relations of one department add no row to a group", leading,
             "if len(found) < len(tables):", "if False:",
             "first_groups: a relation of the same"),
    # ---- keys in place of what only restricts
    Mutation("whatever is joined by is a key", restrict,
             " or not key_of_group(group, own, key, context)", "",
             "keyed: it is no key", by_keys=True),
    Mutation("nothing else is read of what restricts", restrict,
             "if (read.table, read.name) != (key.table, key.name) or not is_one_type:", "if False:",
             "keyed: another column", by_keys=True),
    Mutation("what may be missing restricts", restrict,
             "if any(j.side or not is_plain_join(j) for j in joins):", "if False:",
             "keyed: what may be missing", by_keys=True),
    Mutation("keys have no condition of their own", restrict,
             "set_where(giver, filtering)", "set_where(giver, filtering[1:])",
             "keyed: two conditions", by_keys=True),
    Mutation("NOT IN is a set of keys", restrict,
             'query = part.args.get("query") if isinstance(part, exp.In) else None',
             'part = part.find(exp.In) or part\n    query = part.args.get("query")',
             "keyed: NOT IN", by_keys=True),
    Mutation("what comes twice is a key", asking,
             "or any(doubled)", "",
             "keyed: sums of", by_keys=True),
    Mutation("nobody sees what comes twice", bind,
             "distinct=not once", "distinct=True",
             "keyed: sums of", by_keys=True),
    Mutation("what must come once may be asked anywhere", split,
             "if isinstance(query.parent, exp.Subquery) and query.parent.meta.get(KEYS) == ONCE:", "if False:",
             "keyed: a count beside", by_keys=True),
    Mutation("all keys are one set", split,
             "KEYS_TABLES[list(sets).index(text)]", "KEYS_TABLES[0]",
             "keyed: two departments", by_keys=True),
    # ---- verify
    Mutation("a verdict drops rows without one", verify,
             'side="LEFT", on=matches', "on=matches",
             "modes: verify among"),
    Mutation("a verdict comes once for each row", verify,
             ", distinct=exp.Distinct()", "",
             "modes: verify among"),
    Mutation("NULL is a claim", verify,
             "exp.and_(*known, present, copy=False)", "exp.and_(*known, exp.true(), copy=False)",
             "modes: verify among"),
    Mutation("a condition on verdicts filters the claims", verify,
             " if not verified(p)]", "]",
             "modes: verify in WHERE"),
    Mutation("a verdict is no value of its group", verify,
             "if group is not None and key.sql() in", "if False and key.sql() in",
             "modes: verify of"),
    # ---- names
    Mutation("a renamed column is renamed again", tree,
             'column.table in renamed and not column.meta.get("renamed")', "column.table in renamed",
             "subqueries: scalar, correlated, the"),
    Mutation("a later RIGHT or FULL JOIN extends nothing", tree,
             "later = sides[i:]", "later: list[str] = []",
             "outer_joins: right join, condition on"),
    Mutation("any name is plain", tree,
             "return is_plain(name) and", "return True or",
             "names: quoted names inside, one"),
)  # fmt: skip


BROKEN = (
    CityError, SqlglotError, duckdb.Error, AssertionError, KeyError, ValueError, AttributeError, TypeError,
    RecursionError,
)  # fmt: skip
"""What a wrong planner may end with; the last, where questions wait for each other."""


@cache
def _expected(statement: Statement) -> tuple[Rows, Resolved]:
    return rows_of(as_written(CITY, statement.plain)[0]), resolved(CITY, statement.sql)


def _differs(statement: Statement) -> bool:
    want, bound = _expected(statement)
    try:
        got = run(CITY, plan_of(bound))
    except BROKEN:
        return True
    return not same(want, got, statement.ordered)


def _differs_by_keys(statement: Statement) -> bool:
    """Where keys are true they answer, and nowhere wrongly."""
    try:
        for here in (HONEST, CITY):
            plan = wanted(here, statement.sql)
            got = tried(here, plan) if plan is not None else None
            if plan is not None and got is None and here is HONEST:
                return True
            if got is not None and not same(pooled_once(here, statement), got, statement.ordered):
                return True
    except BROKEN:
        return True
    return False


def _mutate(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    source = inspect.getsource(mutation.module)
    for old, new in ((mutation.old, mutation.new), mutation.also):
        assert not old or source.count(old) == 1, f"{mutation.module.__name__} holds {source.count(old)} of {old}"
        source = source.replace(old, new) if old else source
    mutated: dict[str, Any] = {"__name__": mutation.module.__name__}
    exec(compile(source, mutation.module.__name__, "exec"), mutated)
    for owner, mutant in ((mutation.module, mutated), *_classes(mutation.module, mutated)):
        for name, function in vars(owner).items():
            if isinstance(function, FunctionType) and function.__module__ == mutation.module.__name__:
                monkeypatch.setattr(function, "__code__", mutant[name].__code__)


def _classes(module: ModuleType, mutated: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    plain = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    return [(c, dict(vars(mutated[c.__name__]))) for c in plain if not hasattr(c, "__dataclass_fields__")]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_statement_notices(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one line of the planner wrong, some statement gives other rows, or none."""
    differs = _differs_by_keys if mutation.by_keys else _differs
    for statement in sorted(STATEMENTS, key=lambda s: not s.id.startswith(mutation.first)):
        _expected(statement)
        with monkeypatch.context() as patch:
            _mutate(mutation, patch)
            with guessed_stars() if mutation.stars else nullcontext():
                noticed = differs(statement)
        if noticed:
            break
    assert noticed, "no statement notices"
    with guessed_stars() if mutation.stars else nullcontext():
        assert not differs(statement), "it differs without the mutation too"
