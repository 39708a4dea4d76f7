"""What a driver gave, as columns of the declared types."""

from __future__ import annotations

import pyarrow as pa
import pytest

from catalog.types import parse
from connectors import cells


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"b": 1, "a": [1, 2.5], "ü": null}', '{"a":[1,2.5],"b":1,"ü":null}'),
        ('{"b": 5.0, "a": [1e10, 0.00001, -0.0, 1]}', '{"a":[1.0E10,1.0E-5,-0.0,1],"b":5.0}'),
        ("12345678901234567890123", "12345678901234567890123"),
        ("[NaN", "[NaN"),
        (None, None),
    ],
)
def test_json_enters_as_trino_writes_it(text: str | None, shown: str | None) -> None:
    """Keys sorted, no blanks, doubles as doubles; what is no JSON stays what it is."""
    assert cells.from_python([text], parse("json"), "j").to_pylist() == [shown]
    assert cells.from_arrow(pa.array([text], pa.string()), parse("json"), "j").to_pylist() == [shown]
