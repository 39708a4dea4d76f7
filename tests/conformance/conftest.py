"""One silo of each kind, filled once a module, and marks for what a source says it cannot do."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.conformance.silos import KINDS, Silo, fill
from tests.servers import PostgresServer


@pytest.fixture(scope="module", params=KINDS)
def silo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silo]:
    """The `awkward` table behind one kind of source."""
    with fill(request.param, tmp_path_factory.mktemp(request.param), request) as made:
        yield made


@pytest.fixture(scope="module")
def connection(
    request: pytest.FixtureRequest, postgres: PostgresServer, postgres_database: str
) -> Iterator[psycopg.Connection]:
    """The owner's own, to a database that the module's SCRIPT, if it has one, has filled."""
    with psycopg.connect(postgres.dsn(postgres_database), autocommit=True) as opened:
        opened.execute(getattr(request.module, "SCRIPT", ""))
        yield opened
