"""The department of the suite, once per kind of silo and module, and what its analysts should see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.masks_first.oracle import Oracle
from tests.masks_first.people import (
    CLIENT_MASKS,
    CLIENTS,
    FILTER,
    MASKS,
    PEOPLE,
    PURPOSE,
    TYPES,
    clients_copy,
    people_copy,
)
from tests.masks_first.silos import KINDS, Data, Department, open_department

COLUMNS = {name: str(kind) for name, kind in TYPES.items() if name != "hidden"}
# A raw name of its own, with a blank: published names and raw names are two things.
RAW_NAMES = {name: "Org No" if name == "org" else name for name in TYPES}
POLICY: dict[str, Any] = {
    "department": "dept",
    "linkage_groups": {
        "city": {"root": "file:root.hex", "normaliser": "company"}, "cards": {"root": "file:root.hex"},
    },
    "hierarchies": {"icd": "icd.csv"},
    "relations": {
        name: {"table": name, "columns": {**COLUMNS, "org": {"type": "varchar(18)", "from": "Org No"}}}
        for name in ("people", "clients")
    },
    "grants": [
        {"id": "people", "relation": "people", "purposes": [PURPOSE], "mode": "masked", "masks": MASKS,
         "row_filter": FILTER},
        {"id": "clients", "relation": "clients", "purposes": [PURPOSE], "mode": "masked", "masks": CLIENT_MASKS,
         "row_filter": "hidden = 0"},
    ],
}  # fmt: skip
RAW_TYPES = {RAW_NAMES[name]: kind for name, kind in TYPES.items()}
DATA: Data = {"people": (RAW_TYPES, PEOPLE), "clients": (RAW_TYPES, CLIENTS)}


@pytest.fixture(scope="module", params=KINDS)
def department(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Department]:
    """An agent over one kind of silo; a module may ask for certain kinds only by `indirect` parameters."""
    with open_department(request.param, tmp_path_factory.mktemp(request.param), request, DATA, POLICY) as opened:
        yield opened


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """Q over the materialised relations."""
    return Oracle({"dept.main.people": people_copy(), "dept.main.clients": clients_copy()})
