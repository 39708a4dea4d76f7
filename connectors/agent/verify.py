"""Verify mode: does this subject fit? match, no-match or invalid, and nothing else.

The fragment is exactly `SELECT k AS c0, verify('<relation>', k) AS c1 FROM "$keys"`. `invalid` is decided
from the claim alone, before anything is looked up. Other value, unknown subject and withheld row are one
`no-match`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from sqlglot import exp
from stdnum.iso7064 import mod_11_2

from catalog.errors import AccessDenied, Outcome, UserError
from catalog.exchange import KEYS_TABLE
from catalog.names import MAIN
from catalog.types import VARCHAR

__all__ = ["INVALID", "MATCH", "MAX_BATCH", "NO_MATCH", "VERIFY_SCHEMA", "Claims", "answer", "person_id", "read_verify"]

MATCH, NO_MATCH, INVALID = "match", "no-match", "invalid"
MAX_BATCH = 100
VERIFY_SCHEMA = pa.schema([pa.field("c0", VARCHAR.arrow()), pa.field("c1", VARCHAR.arrow())])
PERSON = ("", "person_id")


@dataclass(frozen=True)
class Claims:
    """A batch: each claim as written, and its canonical form, None if its syntax is wrong."""

    canonical: dict[str, str | None]

    @property
    def subjects(self) -> list[str]:
        """Distinct canonical subjects, in order of first mention."""
        return list(dict.fromkeys(c for c in self.canonical.values() if c is not None))


def read_verify(tree: exp.Expr, department: str) -> str | None:
    """The relation that a verify fragment names, None if the tree calls no verify at all.

    Raises MODE for a call of verify in any other shape.
    """
    calls = [n for n in tree.find_all(exp.Anonymous) if n.name.lower() == "verify"]
    if not calls:
        return None
    refusal = AccessDenied(
        "verify() stands alone.", Outcome.MODE, who=department, rule="mode verify",
        hint=f"""Write SELECT k AS c0, verify('relation', k) AS c1 FROM "{KEYS_TABLE}".""",
    )  # fmt: skip
    if not isinstance(tree, exp.Select) or {k for k, v in tree.args.items() if v} != {"expressions", "from_"}:
        raise refusal
    source = tree.args["from_"].this
    if not isinstance(source, exp.Table) or source.name != KEYS_TABLE or len(tree.expressions) != 2:
        raise refusal
    first, second = tree.expressions
    if not all(isinstance(n, exp.Alias) for n in (first, second)) or (first.alias, second.alias) != ("c0", "c1"):
        raise refusal
    alias = source.alias_or_name
    if not _is_key(first.this, alias) or second.this is not calls[0] or len(calls) != 1:
        raise refusal
    arguments = calls[0].expressions
    if len(arguments) != 2 or not _is_key(arguments[1], alias):
        raise refusal
    name = arguments[0]
    if not isinstance(name, exp.Literal) or not name.is_string:
        raise refusal
    parts = name.name.lower().split(".")
    if parts[:-1] not in ([], [MAIN], [department, MAIN]):
        raise refusal
    return parts[-1]


def _is_key(node: exp.Expr, alias: str) -> bool:
    return isinstance(node, exp.Column) and node.name.lower() == "k" and node.table in ("", alias)


def claims_of(sets: Mapping[str, pa.Array], concept: str) -> Claims:
    """The batch of the only keys part. concept: of the key column; a person's id unless it says otherwise."""
    keys = sets.get(KEYS_TABLE)
    if keys is None or len(sets) > 1 or not (pa.types.is_string(keys.type) or pa.types.is_large_string(keys.type)):
        raise UserError("verify needs one keys part of texts.", rule="keys")
    values = list(dict.fromkeys(keys.to_pylist()))
    if len(values) > MAX_BATCH:
        raise UserError(f"A batch of verify has at most {MAX_BATCH} claims.", Outcome.TOO_LARGE, rule="verify batch")
    syntax: Callable[[str], str | None] = person_id if concept in PERSON else _text
    return Claims({v: syntax(v) for v in values})


def _text(value: str) -> str | None:
    return value or None


def person_id(value: str) -> str | None:
    """A person's number in its 18-character form, None if its syntax is wrong.

    18 characters: 17 digits and a check character (ISO 7064 MOD 11-2), 7 to 14 a real date. 15 digits, the
    old form: without century and check character; born in the 1900s.
    """
    if not value.isascii():
        return None
    if len(value) == 15 and value.isdigit():
        body = value[:6] + "19" + value[6:]
        value = body + mod_11_2.calc_check_digit(body)
    if len(value) != 18 or not value[:17].isdigit() or not (value[17].isdigit() or value[17] == "X"):
        return None
    try:
        date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        return None
    return value if mod_11_2.calc_check_digit(value[:17]) == value[17] else None


def spellings(subjects: Iterable[str]) -> list[str]:
    """Each canonical id and, where there is one, its old 15-digit form: silos keep either."""
    result = []
    for value in subjects:
        result.append(value)
        if len(value) == 18 and value[6:8] == "19" and person_id(value) == value:
            result.append(value[:6] + value[8:17])
    return result


def answer(claims: Claims, found: Iterable[str]) -> pa.Table:
    """One line a claim, in the order of the claims. found: values of the key column that exist."""
    present = {person_id(v) or v for v in found}
    verdicts = [INVALID if c is None else MATCH if c in present else NO_MATCH for c in claims.canonical.values()]
    return pa.table(
        [pa.array(list(claims.canonical), pa.string()), pa.array(verdicts, pa.string())], schema=VERIFY_SCHEMA
    )
