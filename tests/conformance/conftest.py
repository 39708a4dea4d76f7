"""One silo of each kind, filled once a module, and marks for what a source says it cannot do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.silos import KINDS, Silo, fill


@pytest.fixture(scope="module", params=KINDS)
def silo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silo]:
    """The `awkward` table behind one kind of source."""
    with fill(request.param, tmp_path_factory.mktemp(request.param), request) as made:
        yield made
