"""One silo of each kind, filled once a module, and marks for what a source says it cannot do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.base import Source
from connectors.sources import open_source, parse_source
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


@pytest.fixture
def opened(
    postgres: PostgresServer, postgres_database: str, connection: psycopg.Connection, tmp_path: Path
) -> Iterator[Callable[..., Source]]:
    """Opens that database as a source, with settings of its own."""
    made: list[Source] = []

    def source(**settings: Any) -> Source:
        config = {"kind": "postgres", "port": postgres.port, "database": postgres_database, "user": "postgres"}
        made.append(open_source(parse_source({**config, "timeout": 20, **settings}), tmp_path, tmp_path))
        return made[-1]

    yield source
    for each in made:
        each.close()
