"""One attacked world a test process. ATTACK=all asks every case over every kind of silo and through the gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.attack.door import Door
from tests.attack.world import KINDS, World, open_world, oracle_of
from tests.masks_first.oracle import Oracle

FULL = os.environ.get("ATTACK") == "all"


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An agent over every kind of silo, an identity provider and a gateway."""
    with open_world(tmp_path_factory.mktemp("attacked"), request, KINDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def door(world: World) -> Iterator[Door]:
    """The gateways' door of the agent over SQLite, in whichever world a file asks."""
    opened = Door(world, world.departments["sqlite"])
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def doors(world: World) -> Iterator[dict[str, Door]]:
    """The gateways' door of each agent, by kind of silo."""
    with ExitStack() as stack:
        found = {kind: Door(world, department) for kind, department in world.departments.items()}
        for door in found.values():
            stack.callback(door.close)
        yield found


@pytest.fixture(scope="session")
def oracles(world: World) -> dict[str, Oracle]:
    """M(R) under each department's name."""
    return {kind: oracle_of(d.name) for kind, d in world.departments.items()}
