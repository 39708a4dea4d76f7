"""`token`: 128 random bits, the same for the same value within one purpose, kept in the department's own vault.

Nothing of the value is in a token, so nobody can compute or guess one. The owner alone can turn one back
(`atoll agent untoken`). Values are told apart by their bytes, without any normal form; an integer counts as its
decimal text. Tokens compare with those of the same department and purpose, and with nothing else.
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from catalog.masks.base import INTEGERS, TEXT, Context, Mask, MaskError, Rank, Vault
from catalog.relation import Linkage
from catalog.types import TrinoType

__all__ = ["Token", "build"]


class Token(Mask):
    """Text or integer; varchar(32), hexadecimal."""

    kind: ClassVar[str] = "token"
    rank: ClassVar[Rank] = Rank.pseudonym
    in_agent: ClassVar[bool] = True

    def __init__(self, column_type: TrinoType, vault: Vault | None) -> None:
        super().__init__("token", column_type)
        self._accept(*TEXT, *INTEGERS)
        self.type = TrinoType("varchar", (32,))
        self._vault = vault

    @property
    def linkage(self) -> Linkage | None:
        return self._vault.linkage if self._vault is not None else None

    def arrow(self, array: pa.Array, *beside: pa.Array) -> pa.Array:
        """Raises MaskError without a vault: a token that nobody keeps would be no token."""
        if self._vault is None:
            raise MaskError("mask token needs the department's vault")
        values = [None if v is None else str(v) for v in array.to_pylist()]
        known = self._vault.tokens({v for v in values if v is not None})
        return pa.array([None if v is None else known[v] for v in values], self.type.arrow())

    def duckdb(self, column: str, *beside: str) -> str:
        """The column itself: `arrow` has run before the mask engine sees it."""
        return column


def build(args: list[str], column_type: TrinoType, context: Context) -> Token:
    if args:
        raise MaskError("mask token takes no arguments")
    return Token(column_type, context.vault)
