"""Does a fragment belong to the question that its user signed?

The agent sees the fragment and, where the gateway passes it on, the statement that the user sent with the
user's own signature. A relation whose grant is `strict` is read only for such a statement, and only if the
statement names the relation and every column of it that the fragment touches. City tables and `*` name what
they stand for. `conditions` adds which rows the statement can need; what the two prove, and what not:
docs/decisions/006-question-proof.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.errors import AccessDenied, CityError, Outcome
from catalog.exchange import Question
from catalog.identity import Principal
from catalog.names import MAIN
from catalog.question import verify_question
from catalog.relation import Mode
from catalog.standards import CITY, city_tables
from connectors.agent.authorise import Governed

__all__ = ["check_question", "read_statement", "signed_hash"]


@dataclass(frozen=True)
class Named:
    """What a statement names. tables: (catalog or "", table) as written. words: every identifier. all_columns: `*`."""

    tables: frozenset[tuple[str, str]]
    words: frozenset[str]
    all_columns: bool

    def relation(self, department: str, name: str) -> bool:
        """Whether one department's relation is named; without a catalog the name alone decides."""
        return bool({(department, name), ("", name)} & self.tables)


def signed_hash(question: Question | None, principal: Principal, who: str) -> str:
    """The `qh` of the question that came with a fragment; "" if none came that this user could have signed.

    Raises AUTH for a proof that does not fit: somebody changed the question.
    """
    if question is None or not principal.user_jkt:
        return ""
    try:
        return verify_question(question.proof, question.sql, principal.purpose, principal.user_jkt)
    except ValueError as bad:
        raise AccessDenied(
            "This is not the question that its user signed.", Outcome.AUTH, who=who, rule="signed question",
            hint="Ask again with `atoll query`; check the clock of your machine.",
        ) from bad  # fmt: skip


def check_question(
    question: Question | None, signed: str, tree: exp.Expr, relations: Iterable[Governed], who: str
) -> None:
    """Refuse a fragment over strict relations that the signed question does not name. signed: its `qh`, or "".

    Raises AUTH.
    """
    strict = [r for r in relations if r.decision.strict]
    if not strict:
        return
    if question is None or not signed:
        raise _refusal(
            who, "answers only questions that their user signed.", strict,
            "Log in with a key of your own (atoll token --key FILE) and ask with atoll query.",
        )  # fmt: skip
    named = _named(question.sql)
    touched, everything = _words(tree), _everything(tree)
    for relation in strict:
        if named is None or not named.relation(who, relation.name):
            raise _refusal(who, "is not named in the question that was signed.", [relation])
        columns = set(relation.columns) if everything else touched & set(relation.columns)
        if relation.mode is Mode.verify or named.all_columns:
            continue
        if not columns <= named.words:
            raise _refusal(who, "is asked for columns that the signed question does not name.", [relation])


def _refusal(who: str, text: str, relations: list[Governed], hint: str = "") -> CityError:
    name = relations[0].name
    return AccessDenied(
        f"Table {who}.{MAIN}.{name} {text}", Outcome.AUTH, who=who, rule="signed question",
        hint=hint or "Ask again with `atoll query`; if it stays, tell the department.",
    )  # fmt: skip


@cache
def _city(name: str) -> Named | None:
    """What a city table stands for, by its full name."""
    found = next((t for n, t in city_tables().items() if str(n) == name), None)
    return None if found is None else _read(found.sql)


def _named(sql: str) -> Named | None:
    """What a signed statement names, city tables opened; None for a text that is no one query."""
    read = _read(sql)
    if read is None:
        return None
    tables, words, all_columns = set(read.tables), set(read.words), read.all_columns
    for full in map(str, city_tables()):
        _, _, table = full.split(".")
        if {(CITY, table), ("", table)} & read.tables:
            opened = _city(full)
            if opened is not None:
                tables |= opened.tables
                words |= opened.words
                all_columns = all_columns or opened.all_columns
    return Named(frozenset(tables), frozenset(words), all_columns)


def read_statement(sql: str) -> exp.Expr | None:
    """A signed text as a tree, None for one that is no single query."""
    try:
        found = [s for s in sqlglot.parse(sql, dialect="trino") if s is not None]
    except (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, KeyError, IndexError):
        return None
    return found[0] if len(found) == 1 and isinstance(found[0], exp.Query) else None


def _read(sql: str) -> Named | None:
    tree = read_statement(sql)
    if tree is None:
        return None
    tables = {(t.catalog.lower(), t.name.lower()) for t in tree.find_all(exp.Table)}
    for call in tree.find_all(exp.Anonymous):
        if call.name.lower() == "verify" and call.expressions and call.expressions[0].is_string:
            *catalog, table = call.expressions[0].name.lower().split(".")
            tables.add((catalog[0] if len(catalog) > 1 else "", table))
    return Named(frozenset(tables), _words(tree), _everything(tree))


def _words(tree: exp.Expr) -> frozenset[str]:
    return frozenset(i.name.lower() for i in tree.find_all(exp.Identifier))


def _everything(tree: exp.Expr) -> bool:
    """Whether a tree reaches columns without their names: by `*`, by what two tables have in common, by position."""
    if any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star)):
        return True
    if any(str(join.args.get("method") or "").upper() == "NATURAL" for join in tree.find_all(exp.Join)):
        return True
    return any(
        alias.args.get("columns") for alias in tree.find_all(exp.TableAlias) if isinstance(alias.parent, exp.Table)
    )
