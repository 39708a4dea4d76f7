"""What `sources:` in department.yaml accepts, and how it says no."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors.base import SourceError
from connectors.sources import KINDS, model_of, open_source, parse_source


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"kind": "sqlte", "path": "x"}, "did you mean 'sqlite'"),
        ({"kind": "oracle"}, "kinds: files, mysql, postgres, rest, sqlite"),
        ({"path": "x"}, "unknown kind of source None"),
        ({"kind": "sqlite", "pth": "x"}, "unknown key 'pth': did you mean 'path'?"),
        ({"kind": "sqlite"}, "path"),
        ({"kind": "postgres", "database": "d", "user": "u", "password": "hunter2"}, "by reference only"),
        ({"kind": "postgres", "database": "d", "user": "u", "search_path": "a; DROP"}, "search_path"),
        ({"kind": "mysql", "database": "d", "user": "u", "port": 0}, "port"),
    ],
)
def test_a_wrong_entry_is_refused_with_the_nearest_right_one(entry: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=r".*") as failure:
        parse_source(entry)
    assert reason in str(failure.value)


def test_a_refused_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="by reference only") as failure:
        parse_source({"kind": "postgres", "database": "d", "user": "u", "password": "hunter2"})
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_model_of_its_own_that_takes_no_other_kind(kind: str) -> None:
    model = model_of(kind)
    assert model.model_json_schema()["properties"]["kind"]["const"] == kind
    with pytest.raises(ValueError, match="kind"):
        model.model_validate({"kind": "other"})


def test_a_department_imports_the_drivers_of_its_own_silos_only() -> None:
    program = (
        "import sys, connectors.agent.serve, connectors.sources as sources\n"
        "assert not {'psycopg', 'pymysql', 'python_calamine'} & set(sys.modules)\n"
        "sources.parse_source({'kind': 'mysql', 'database': 'd', 'user': 'u'})\n"
        "assert 'pymysql' in sys.modules and 'psycopg' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("reference", ["env:ATOLL_NO_SUCH_SECRET", "file:no/such/file"])
def test_a_missing_secret_is_named_by_its_reference(tmp_path: Path, reference: str) -> None:
    config = parse_source({"kind": "mysql", "database": "d", "user": "u", "password": reference})
    with pytest.raises(ValueError, match=reference):
        open_source(config, tmp_path, tmp_path)


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_server_that_is_not_there_is_a_source_error(tmp_path: Path, kind: str) -> None:
    source = open_source(parse_source({"kind": kind, "port": 1, "database": "d", "user": "u"}), tmp_path, tmp_path)
    with pytest.raises(SourceError, match="cannot be reached"):
        source.ping()
    source.close()
