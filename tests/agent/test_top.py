"""ORDER BY .. LIMIT below the masks: only where the order names everything that shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlglot import exp

from catalog.types import VARCHAR
from connectors.agent.admit import admit
from connectors.agent.top import top_of
from connectors.snapshot import CAPABILITIES

HIDING = SimpleNamespace(
    columns={"c0": VARCHAR, "c1": VARCHAR}, masks={"c1": object()}, hides=True, raw=lambda column: column, name="r"
)


@pytest.mark.parametrize(
    ("outputs", "limit"),
    [("t.c0 AS c0", 2), ("t.c0 AS c0, t.c1 AS c1", None), ("*", None), ("t.*", None)],
)
def test_a_masked_column_among_the_outputs_keeps_the_limit_above(outputs: str, limit: int | None) -> None:
    """However it is named: which of the rows that tie a source gives might follow what the mask hides."""
    tree = admit(f"SELECT {outputs} FROM d.main.r AS t ORDER BY t.c0 LIMIT 2").tree
    table = next(tree.find_all(exp.Table))
    assert top_of(tree, table, cast(Any, HIDING), CAPABILITIES, (), 1)[1] == limit
