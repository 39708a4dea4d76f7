"""The documented list: which functions and operators of Trino may stand in a statement, and how many that is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlglot import exp

from catalog.duck.functions import FUNCTIONS, OUTSIDE, REFUSED, SESSION

__all__ = ["LISTED", "OPERATORS", "Coverage", "coverage"]

OPERATORS: Mapping[str, tuple[type[exp.Expr], ...]] = {
    "+": (exp.Add,), "-": (exp.Sub, exp.Neg), "*": (exp.Mul,), "/": (exp.Div,), "%": (exp.Mod,), "||": (exp.DPipe,),
    "=": (exp.EQ,), "<>": (exp.NEQ,), "<": (exp.LT,), "<=": (exp.LTE,), ">": (exp.GT,), ">=": (exp.GTE,),
    "IS DISTINCT FROM": (exp.NullSafeNEQ, exp.NullSafeEQ), "IS NULL": (exp.Is,), "BETWEEN": (exp.Between,),
    "IN": (exp.In,), "LIKE": (exp.Like, exp.Escape), "AND": (exp.And,), "OR": (exp.Or,), "NOT": (exp.Not,),
    "CASE": (exp.Case,), "ALL": (exp.All,), "ANY": (exp.Any,), "AT TIME ZONE": (exp.AtTimeZone,),
    "[]": (exp.Bracket,),
}  # fmt: skip
"""How an operator is written -> the sqlglot classes that it is read into."""

LISTED: Mapping[str, str] = {**FUNCTIONS, **dict.fromkeys(SESSION, "special")}
"""Every function that is answered -> its kind: scalar, aggregate, window, or special for a form with a syntax."""


@dataclass(frozen=True)
class Coverage:
    """Of the functions that a Trino lists: answered, refused by name, and outside of what has a meaning here."""

    answered: int
    refused: int
    outside: int

    @property
    def share(self) -> float:
        """Of those that have a meaning here."""
        return self.answered / (self.answered + self.refused)


def coverage(names: Collection[str]) -> Coverage:
    """names: of Trino's SHOW FUNCTIONS, in any case. Raises ValueError for one that is neither answered nor refused."""
    known = {name.lower() for name in names}
    missing = known - LISTED.keys() - REFUSED.keys()
    if missing:
        raise ValueError(f"neither answered nor refused by name: {', '.join(sorted(missing))}")
    answered = len(known & LISTED.keys())
    outside = len((known & OUTSIDE) - LISTED.keys())
    return Coverage(answered, len(known) - answered - outside, outside)
