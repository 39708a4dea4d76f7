"""The statements of `statements/*.sql`, read as text.

    -- what this statement shows            the name; "(ordered)" at its end: the order of rows counts
    -- as: SELECT ..                        optional: the same question in plainer words, for the pooled side
    SELECT ..;

Add a statement by adding text: a comment with its name, the statement, a semicolon at a line's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent / "statements"
ORDERED = "(ordered)"


@dataclass(frozen=True)
class Statement:
    """id: file and name. plain: the text that the pooled side answers."""

    id: str
    sql: str
    plain: str
    ordered: bool


def read(path: Path) -> list[Statement]:
    """All statements of one file. Raises ValueError for one without a name or a name used twice."""
    found: dict[str, Statement] = {}
    for block in path.read_text().split(";\n"):
        comments = [line[3:] for line in block.splitlines() if line.startswith("-- ")]
        sql = "\n".join(line for line in block.splitlines() if not line.startswith("-- ")).strip()
        if not sql:
            continue
        plain = next((c.removeprefix("as: ") for c in comments if c.startswith("as: ")), sql)
        names = [c for c in comments if not c.startswith("as: ")]
        if len(names) != 1 or f"{path.stem}: {names[0]}" in found:
            raise ValueError(f"{path.name}: a statement needs one comment with a name of its own: {sql[:60]}")
        name = f"{path.stem}: {names[0]}"
        found[name] = Statement(name.removesuffix(ORDERED).strip(), sql, plain, names[0].endswith(ORDERED))
    return list(found.values())


STATEMENTS: list[Statement] = [s for path in sorted(HERE.glob("*.sql")) for s in read(path)]
