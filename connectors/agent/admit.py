"""Admission: a fragment's text becomes a tree, or a refusal by name. Nothing is looked up here.

Received text is never run: all that leaves this stage is a tree of closed-list nodes, from which
`catalog.duck` writes the SQL that runs. Each step refuses by default (GOVERNANCE 5.1 to 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from catalog import duck
from catalog.errors import CityError, Outcome, UserError
from catalog.exchange import KEYS_TABLES, sha256
from catalog.names import is_plain

__all__ = ["Admitted", "admit"]

MAX_DEPTH = 250
MAX_IN_LIST = 10_000
MAX_CTE_EXPANSIONS = 64
VERIFY = "verify"


_TRINO = Trino()
_PLACES = frozenset(exp.POSITION_META_KEYS)


@dataclass(frozen=True)
class Admitted:
    """One query of closed-list nodes. sha256: of the text as received."""

    tree: exp.Expr
    sha256: str


def admit(text: str) -> Admitted:
    """Check one fragment's text. Raises UserError: SYNTAX, STATEMENT, NODE, FUNCTION, TOO_LARGE."""
    try:
        return Admitted(_admit(text), sha256(text))
    except RecursionError:
        raise UserError("The statement is nested too deeply.", Outcome.TOO_LARGE, rule="limits") from None


def _admit(text: str) -> exp.Expr:
    tokens = duck.scan(text)
    tree = _one_statement(text, tokens)
    _depth(tree)
    _nodes(tree)
    duck.check_functions(tokens, _aliases(tree), extra=(VERIFY,))
    _names(tree, tokens)
    _sizes(tree)
    return tree


def _one_statement(text: str, tokens: list[Token]) -> exp.Expr:
    """The tree of the very tokens that were looked at."""
    try:
        statements = _TRINO.parser().parse(tokens, text)
    except (SqlglotError, ValueError, TypeError, AttributeError, KeyError, IndexError) as bad:
        # sqlglot's builders raise the plain errors on some malformed input.
        raise UserError("The statement does not parse.", Outcome.SYNTAX, rule="syntax") from bad
    found = [s for s in statements if s is not None]
    if len(found) != 1 or len(statements) != 1:
        raise UserError("Exactly one statement is accepted.", Outcome.SYNTAX, rule="one statement")
    tree = found[0]
    if not isinstance(tree, (exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.Values)):
        raise UserError(f"Only queries are accepted, not {_words(tree)}.", Outcome.STATEMENT, rule="statement kinds")
    return tree


def _words(node: exp.Expr) -> str:
    return (node.name if isinstance(node, exp.Command) else type(node).__name__).upper()


def _depth(tree: exp.Expr) -> None:
    """Everything after this may recurse. A chain of one AND or OR counts once: it is walked in a loop."""
    stack: list[tuple[exp.Expr, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise UserError("The statement is nested too deeply.", Outcome.TOO_LARGE, rule="limits")
        for child in node.iter_expressions():
            chain = type(child) is type(node) and isinstance(node, (exp.And, exp.Or))
            stack.append((child, depth if chain else depth + 1))


def _nodes(tree: exp.Expr) -> None:
    for node in tree.walk():
        kind = type(node)
        if kind is exp.Anonymous:
            name = node.this if isinstance(node.this, str) else ""
            if name.lower() != VERIFY and name.lower() not in duck.FUNCTIONS:
                raise duck.unknown_function(name or "this")
        elif kind not in duck.NODES:
            if isinstance(node, exp.Func) and not isinstance(node, (exp.Command, exp.Query)):
                raise duck.unknown_function(node.sql_name())
            raise duck.refuse(node)
        if kind is exp.Var and not (isinstance(node.this, str) and node.this.isidentifier()):
            raise duck.refuse("this unit")
        if node._meta and node._meta.keys() <= _PLACES:
            # Where it stood in the text: nobody asks, and most of what a copy of the tree costs.
            node._meta = None


def _aliases(tree: exp.Expr) -> set[str]:
    return {a.name.lower() for a in tree.find_all(exp.TableAlias) if a.name}


def _names(tree: exp.Expr, tokens: list[Token]) -> None:
    """Identifiers are plain, in any case; `"$keys"` and its like are the one exception, and tables.

    Of the tokens too: not everything that is quoted becomes an identifier of the tree (a type does not).
    """
    for token in tokens:
        quoted = token.token_type == TokenType.IDENTIFIER
        if quoted and token.text not in KEYS_TABLES and not is_plain(token.text.lower()):
            raise _no_name()
    for node in tree.find_all(exp.Identifier):
        name = node.name
        if name in KEYS_TABLES and isinstance(node.parent, exp.Table) and not node.parent.args.get("db"):
            continue
        if not is_plain(name.lower()):
            raise _no_name()


def _no_name() -> CityError:
    return UserError("A name is no plain identifier.", Outcome.NODE, rule="names")


def _sizes(tree: exp.Expr) -> None:
    for node in tree.find_all(exp.In):
        if len(node.expressions) > MAX_IN_LIST:
            raise UserError(f"An IN list has more than {MAX_IN_LIST} items.", Outcome.TOO_LARGE, rule="limits")
    weights: dict[str, int] = {}
    for clause in tree.find_all(exp.With):
        if clause.args.get("recursive"):
            raise duck.refuse("WITH RECURSIVE")
        for cte in clause.expressions:
            name = cte.alias.lower()
            weights[name] = max(weights.get(name, 0), 1 + _references(cte.this, weights))
            if weights[name] > MAX_CTE_EXPANSIONS:
                raise _too_many()
    if weights and _references(tree, weights) > MAX_CTE_EXPANSIONS * 4:
        raise _too_many()


def _references(tree: exp.Expr, weights: dict[str, int]) -> int:
    """How many CTE bodies a query would contain if each reference were written out."""
    return sum(weights.get(t.name.lower(), 0) for t in tree.find_all(exp.Table) if not t.args.get("db"))


def _too_many() -> CityError:
    return UserError(f"CTEs expand to more than {MAX_CTE_EXPANSIONS} queries.", Outcome.TOO_LARGE, rule="limits")
