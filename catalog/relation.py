"""Governed relations: what a department shows of a table, and all that the gateway plans against.

Names are the published ones, types are those *after* the masks. Raw names and raw types never get here.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from catalog.names import MAIN, PlainName, RelationName
from catalog.types import TrinoType, parse

__all__ = ["Column", "Linkage", "Mode", "Relation", "RelationList", "TypeText"]


def _type(value: Any) -> Any:
    return parse(value) if isinstance(value, str) else value


TypeText = Annotated[TrinoType, BeforeValidator(_type), PlainSerializer(str)]


class Mode(IntEnum):
    """What a grant lets a relation answer, weakest first: `min()` of two modes is the stricter one."""

    none = 0
    schema = 1
    synthetic = 2
    verify = 3
    aggregate = 4
    masked = 5
    raw = 6

    @property
    def gives_rows(self) -> bool:
        """Whether any SELECT is answered: by the relation's own rows, or by generated ones."""
        return self in (Mode.synthetic, Mode.masked, Mode.raw)


def _mode(value: Any) -> Any:
    return Mode[value] if isinstance(value, str) and value in Mode.__members__ else value


ModeText = Annotated[Mode, BeforeValidator(_mode), PlainSerializer(lambda m: m.name, return_type=str)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Linkage(_Frozen):
    """Pseudonyms compare only when all three are equal."""

    purpose: str
    group: str
    epoch: str = ""


class Column(_Frozen):
    """One published column.

    mask: the kind of mask for this user, as shown ("pseudonym(market)", "" if none).
    unit: UCUM-like unit or the name of the column that holds it. concept: entry of catalog/standards.
    codes: the public code list, where the relation gives no real values from which to learn it (`schema`, `synthetic`).
    """

    name: PlainName
    type: TypeText
    comment: str = ""
    unit: str = ""
    concept: str = ""
    mask: str = ""
    linkage: Linkage | None = None
    codes: tuple[str, ...] = ()


class Relation(_Frozen):
    """One governed relation as one user sees it for one purpose.

    rows: published row count (rounded by the owner), None if the owner publishes none.
    key: columns whose values together stand in one row only, as the owner declares; planning believes it, answers
    do not depend on it.
    min_group, entity, dimensions, measures: set in `aggregate` mode. verify_keys: in `verify` mode.
    max_keys: keys that one fragment may bring. key_sets: sets of keys among which they may lie. key_columns: parts that
    a key may have.
    vintage: age of the snapshot that answers, None for a live source. stale: the department is
    unreachable and this is the last that was known. notice: what must be said beside every answer from it.
    """

    catalog: PlainName
    schema_name: PlainName = MAIN
    name: PlainName
    columns: tuple[Column, ...]
    mode: ModeText = Mode.masked
    purpose: str = ""
    comment: str = ""
    filtered: bool = False
    min_group: int | None = None
    entity: str | None = None
    dimensions: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    verify_keys: tuple[str, ...] = ()
    rows: int | None = None
    key: tuple[PlainName, ...] = ()
    max_keys: int = 10_000
    key_sets: int = 1
    key_columns: int = 1
    source_kind: str = ""
    vintage: datetime | None = None
    stale: bool = False
    notice: str = ""

    @property
    def full_name(self) -> RelationName:
        return RelationName(self.catalog, self.schema_name, self.name)

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)


class RelationList(_Frozen):
    """Answer of `GET /v1/relations`: everything that one user may see of one department for one purpose.

    other_purposes: relation -> the user's other purposes under which it is granted.
    version: changes whenever policy or schema change; caches key on it.
    """

    department: PlainName
    title: str = ""
    custodian: str = ""
    contact: str = ""
    purpose: str = ""
    version: str = ""
    relations: tuple[Relation, ...] = ()
    other_purposes: dict[str, tuple[str, ...]] = {}
