"""What the differential tests take for the same answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.differential.harness import same

NAN, LARGE = float("nan"), float("inf")


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        (NAN, float("nan"), True),
        (NAN, 1.0, False),
        (NAN, None, False),
        (NAN, LARGE, False),
        (NAN, "nan", False),
        ([1.0, NAN], [1.0, float("nan")], True),
        ([NAN, 1.0], [1.0, NAN], False),
        (0.1 + 0.2, 0.3, True),
        (0.0, -0.0, True),
        (1.0, 1.0001, False),
        (1, None, False),
    ],
)
def test_values_of_an_answer(left: Any, right: Any, alike: bool, ordered: bool) -> None:
    assert same([(left, 1)], [(right, 1)], ordered) is alike


def test_order_counts_where_it_is_asked() -> None:
    up, down = [(1, NAN), (2, NAN)], [(2, NAN), (1, NAN)]
    assert same(up, down, False)
    assert not same(up, down, True)
    assert not same(up, up[:1] * 2, False)
