"""`verify('relation', key)`: each distinct key goes to the department as a claim; the verdicts come back."""

from __future__ import annotations

import difflib

from sqlglot import exp

from catalog.errors import AccessDenied, Outcome, UserError
from catalog.names import RelationName
from catalog.relation import Mode, Relation
from gateway.plan import FragmentPlan, KeySource

__all__ = ["VERIFY", "plan_verify", "verified_relations"]

VERIFY = "verify"
BATCH = 100


def verified_relations(tree: exp.Expr) -> list[str]:
    """The relation names that the `verify` calls of a statement speak of, as written."""
    return [_relation_text(c) for c in tree.find_all(exp.Anonymous) if c.name.lower() == VERIFY]


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
    select: exp.Select, call: exp.Anonymous, name: str, relations: dict[RelationName, Relation]
) -> FragmentPlan:
    """Turn one `verify` call of `select` into a fragment and join its verdicts on.

    Proof sketch. The verdict is a function of the key. The fragment delivers (key, verdict) once per
    distinct key of the rows that the select reads; a LEFT JOIN on the key adds exactly one verdict to
    each row, NULL for a NULL key, and neither drops nor repeats rows.
    """
    relation = _relation(call, relations)
    key = call.expressions[1]
    keys = exp.Select(expressions=[exp.alias_(key.copy(), "k", copy=False)], distinct=exp.Distinct())
    for part in ("from_", "joins", "where"):
        value = select.args.get(part)
        if value:
            keys.set(part, [v.copy() for v in value] if isinstance(value, list) else value.copy())
    present = exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null()))
    keys = keys.where(present, copy=False)
    verdicts = exp.Table(
        this=exp.to_identifier(name),
        alias=exp.TableAlias(this=exp.to_identifier(f"{name}_v"), columns=[]),
    )
    if select.args.get("from_") is None:
        select.set("from_", exp.From(this=verdicts))
        call.replace(exp.column("c1", table=f"{name}_v"))
    else:
        matches = exp.EQ(this=exp.column("c0", table=f"{name}_v"), expression=key.copy())
        select.append("joins", exp.Join(this=verdicts, side="LEFT", on=matches))
        call.replace(exp.column("c1", table=f"{name}_v"))
    sql = f"SELECT k AS c0, verify('{relation.full_name}', k) AS c1 FROM \"$keys\""
    needs = frozenset(t.name for t in keys.find_all(exp.Table))
    return FragmentPlan(
        name,
        relation.catalog,
        sql,
        ("k", "verdict"),
        (relation,),
        KeySource(keys, needs, sql, BATCH, always=True),
    )


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
        )
    if found.mode != Mode.verify:
        raise AccessDenied(
            f"'{text}' is not a relation to verify against; you may select from it.",
            Outcome.MODE,
            who=found.catalog,
            rule="verify mode",
        )
    return found
