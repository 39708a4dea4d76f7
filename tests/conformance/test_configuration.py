"""What `sources:` in department.yaml accepts, and how it says no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter

from connectors.base import SourceError
from connectors.sources import KINDS, AnySource, open_source, parse_source
from connectors.sqlite import SqliteConfig


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


def test_an_entry_is_a_field_of_any_model_and_has_a_json_schema() -> None:
    class Department(BaseModel):
        model_config = ConfigDict(extra="forbid")
        sources: dict[str, AnySource]

    department = Department.model_validate({"sources": {"main": {"kind": "sqlite", "path": "a.db"}}})
    assert isinstance(department.sources["main"], SqliteConfig)
    schema = TypeAdapter(Department).json_schema()
    assert {kind.model_fields["kind"].default for kind in KINDS.values()} == set(KINDS)
    assert "SqliteConfig" in schema["$defs"]


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
