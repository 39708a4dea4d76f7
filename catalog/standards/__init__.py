"""The city's standards: city tables (`city.water.company_month`, ..) built of departmental relations.

A city table is one Trino SELECT over governed relations of departments, in `tables/<domain>.<table>.sql`,
with its columns in the `.yaml` beside it. What is mapping rather than SQL (units, code lists, validity
periods, reference conditions) is data: `mappings.yaml` and `units.txt`, see `mappings.py`. Rows that no
mapping covers are never guessed: `<domain>.<table>.unmapped.sql` counts them for the answer's warnings.

Each department's part of a city table is a derived table or a bare relation of its own: sums by the codes
that the department was given inside, the join with market's `company_code` outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sqlglot
import yaml
from pydantic import BaseModel, ConfigDict
from sqlglot import exp

from catalog.names import PlainName, RelationName
from catalog.relation import TypeText
from catalog.standards.mappings import expand
from catalog.types import TrinoType

__all__ = ["CITY", "CityColumn", "CityTable", "city_tables"]

CITY = "city"
"""The catalog in which city tables live."""
_TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class CityColumn:
    """One column; unit: UCUM-like, or the name of the column that holds it."""

    name: str
    type: TrinoType
    unit: str = ""
    comment: str = ""


@dataclass(frozen=True)
class CityTable:
    """One city table.

    sql: one Trino SELECT whose outputs are exactly `columns`, in order, over `department.main.relation`
    names, mappings expanded. unmapped: a Trino SELECT of one bigint, how many departmental rows no mapping
    covers, or None where nothing is mapped; warning: how to say it, `N rows of <name> <warning>`.
    departments: catalogs that `sql` reads. relations: the departmental relations that it reads.
    """

    name: RelationName
    columns: tuple[CityColumn, ...]
    sql: str
    comment: str
    departments: tuple[str, ...]
    relations: tuple[RelationName, ...]
    unmapped: str | None = None
    warning: str = ""


class _Column(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    type: TypeText
    unit: str = ""
    comment: str = ""


class _Description(BaseModel):
    """The `.yaml` beside a city table's `.sql`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    comment: str
    columns: dict[PlainName, _Column]
    warning: str = ""


@cache
def city_tables() -> dict[RelationName, CityTable]:
    """All city tables by name, read once. Raises ValueError for a table whose files do not fit together."""
    files = sorted(p for p in _TABLES.glob("*.sql") if not p.name.endswith(".unmapped.sql"))
    tables = [_table(path) for path in files]
    return {table.name: table for table in tables}


def _table(path: Path) -> CityTable:
    description = _Description(**yaml.safe_load(path.with_suffix(".yaml").read_text(encoding="utf-8")))
    query = _query(path)
    unmapped_path = path.with_suffix(".unmapped.sql")
    unmapped = _query(unmapped_path).sql(dialect="trino") if unmapped_path.exists() else None
    if query.named_selects != list(description.columns):
        raise ValueError(f"{path.name} selects {query.named_selects}, its .yaml says {list(description.columns)}")
    if bool(unmapped) != bool(description.warning):
        raise ValueError(f"{path.name}: a count of unmapped rows and its warning belong together")
    return CityTable(
        name=RelationName.parse(f"{CITY}.{path.stem}"),
        columns=tuple(CityColumn(name, c.type, c.unit, c.comment) for name, c in description.columns.items()),
        sql=query.sql(dialect="trino", comments=False),
        comment=description.comment.strip(),
        departments=tuple(sorted({t.catalog for t in query.find_all(exp.Table) if t.catalog})),
        relations=tuple(
            sorted({RelationName(t.catalog, t.db, t.name) for t in query.find_all(exp.Table) if t.catalog})
        ),
        unmapped=unmapped,
        warning=description.warning,
    )


def _query(path: Path) -> exp.Query:
    query = sqlglot.parse_one(path.read_text(encoding="utf-8"), read="trino")
    if not isinstance(query, exp.Query):
        raise ValueError(f"{path.name} is no SELECT")
    expand(query)
    return query
