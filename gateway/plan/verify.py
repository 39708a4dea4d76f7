"""`verify('relation', key)`: each distinct key goes to the department as a claim; the verdicts come back."""

from __future__ import annotations

import difflib

from sqlglot import exp

from catalog.errors import AccessDenied, Outcome, UserError
from catalog.exchange import KEYS_TABLE
from catalog.names import RelationName
from catalog.relation import Mode, Relation
from gateway.plan import FragmentPlan, KeySet, KeySource
from gateway.rewrite.tree import aliases_in, conjuncts, has_aggregate, has_subquery, has_window, sources, visible_ctes

__all__ = ["VERIFY", "plan_verify", "verified", "verified_relations"]

VERIFY = "verify"
BATCH = 100


def verified_relations(tree: exp.Expr) -> list[str]:
    """The relation names that the `verify` calls of a statement speak of, as written."""
    return [_relation_text(c) for c in verified(tree)]


def _relation_text(call: exp.Anonymous) -> str:
    arguments = call.expressions
    if len(arguments) != 2 or not (isinstance(arguments[0], exp.Literal) and arguments[0].is_string):
        raise UserError(
            "verify takes a relation's name as text and a key.",
            Outcome.FUNCTION,
            rule="verify",
            hint="For instance verify('housing.main.owner', id).",
        )
    return str(arguments[0].this)


def plan_verify(
    select: exp.Select, calls: list[exp.Anonymous], name: str, relations: dict[RelationName, Relation]
) -> FragmentPlan:
    """Turn equal `verify` calls of `select` into one fragment and join its verdicts on.

    Proof sketch. The verdict is a function of the key. The fragment delivers (key, verdict) once per
    distinct key of the rows that the select reads; a LEFT JOIN on the key adds exactly one verdict to
    each row, NULL for a NULL key, and neither drops nor repeats rows. Where the select groups by the key,
    the verdict is one value a group and may be grouped by too. Raises UserError where the key is no
    value of the select's own rows.
    """
    relation = _relation(calls[0], relations)
    key = calls[0].expressions[1].copy()
    _check_place(select, calls, key)
    if select.args.get("from_") is None:
        select.set("from_", exp.From(this=_one_row(f"{name}_one")))
    keys = _keys(select, key)
    alias = f"{name}_v"
    matches = exp.EQ(this=exp.column("c0", table=alias), expression=key.copy())
    verdicts = exp.Table(this=exp.to_identifier(name), alias=exp.TableAlias(this=exp.to_identifier(alias)))
    select.append("joins", exp.Join(this=verdicts, side="LEFT", on=matches))
    group = select.args.get("group")
    if group is not None and key.sql() in {k.sql() for k in group.expressions}:
        group.append("expressions", exp.column("c1", table=alias))
    for call in calls:
        call.replace(exp.column("c1", table=alias))
    ctes = {cte.alias for cte in keys.find_all(exp.CTE)}
    needs = frozenset(t.name for t in keys.find_all(exp.Table) if not t.db and t.name not in ctes)
    sql = f"SELECT k AS c0, verify('{relation.full_name}', k) AS c1 FROM \"{KEYS_TABLE}\""
    source = KeySource((KeySet(keys, needs),), {(0,): sql}, BATCH, always=True)
    return FragmentPlan(name, relation.catalog, sql, ("k", "verdict"), (relation,), source)


def _check_place(select: exp.Select, calls: list[exp.Anonymous], key: exp.Expr) -> None:
    own = {s.alias for s in sources(select)}
    inside = own | {part.alias_or_name for part in select.find_all(exp.Subquery, exp.Table)}
    what = ""
    if any(call.find_ancestor(exp.Join, exp.Select) is not select for call in calls):
        what = "verify is not for the ON of a join; write it in WHERE."
    elif has_aggregate(key) or has_window(key) or has_subquery(key):
        what = "The key of verify is a value of a row: no aggregate, window or subquery."
    elif not aliases_in(key) <= own or not aliases_in(select) - {""} <= inside:
        what = "verify is not for a subquery that reads the rows around it."
    if what:
        raise UserError(what, Outcome.NODE, rule="verify", hint="A derived table can compute the key first.")


def _one_row(alias: str) -> exp.Subquery:
    one = exp.Select(expressions=[exp.alias_(exp.Literal.number(1), "one", copy=False)])
    return exp.Subquery(this=one, alias=exp.TableAlias(this=exp.to_identifier(alias)))


def _keys(select: exp.Select, key: exp.Expr) -> exp.Select:
    """The distinct keys of the rows that a select reads; conditions that need verdicts can't filter yet."""
    query = exp.Select(expressions=[exp.alias_(key.copy(), "k", copy=False)], distinct=exp.Distinct())
    ctes = [cte.copy() for cte in visible_ctes(select)]
    if ctes:
        query.set("with_", exp.With(expressions=ctes))
    query.set("from_", select.args["from_"].copy())
    query.set("joins", [join.copy() for join in select.args.get("joins") or []])
    where = select.args.get("where")
    known = [p.copy() for p in conjuncts(where.this if where is not None else None) if not verified(p)]
    present = exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null()))
    query.set("where", exp.Where(this=exp.and_(*known, present, copy=False)))
    return query


def verified(node: exp.Expr) -> list[exp.Anonymous]:
    """The `verify` calls in `node`."""
    return [c for c in node.find_all(exp.Anonymous) if c.name.lower() == VERIFY]


def _relation(call: exp.Anonymous, relations: dict[RelationName, Relation]) -> Relation:
    text = _relation_text(call)
    try:
        name = RelationName.parse(text)
    except ValueError:
        name = None
    found = relations.get(name) if name is not None else None
    if found is None:
        near = difflib.get_close_matches(text, [str(n) for n, r in relations.items() if r.mode == Mode.verify], n=1)
        raise AccessDenied(
            f"Table '{text}' does not exist.",
            Outcome.NOT_AVAILABLE,
            rule="no such relation for you",
            hint=f"Did you mean {near[0]}?" if near else "",
            about=text.partition(".")[0].lower(),
        )
    if found.mode != Mode.verify:
        raise AccessDenied(
            f"'{text}' is not a relation to verify against; you may select from it.",
            Outcome.MODE,
            who=found.catalog,
            rule="verify mode",
        )
    return found
