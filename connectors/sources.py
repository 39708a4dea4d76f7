"""The `sources:` entries of department.yaml: one strict model a kind, and `open_source`.

A new kind is one file with a `SourceConfig` and a `Source`, and one line in `KINDS`. Its file is imported when an
entry is of its kind: a department pays for the drivers of its own silos only.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import Any

from connectors.base import Source
from connectors.config import SourceConfig

__all__ = ["KINDS", "SourceConfig", "model_of", "open_source", "parse_source"]

KINDS = {
    "sqlite": "connectors.sqlite:SqliteConfig",
    "rest": "connectors.rest:RestConfig",
    "files": "connectors.files:FilesConfig",
    "postgres": "connectors.postgres:PostgresConfig",
    "mysql": "connectors.mysql:MysqlConfig",
}


def model_of(kind: object) -> type[SourceConfig]:
    """The model of one kind's entries. Raises ValueError for an unknown kind, with the nearest known one."""
    if not isinstance(kind, str) or kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"kinds: {', '.join(sorted(KINDS))}"
        raise ValueError(f"unknown kind of source {kind!r}: {hint}")
    module, _, name = KINDS[kind].partition(":")
    model: type[SourceConfig] = getattr(import_module(module), name)
    return model


def parse_source(data: dict[str, Any]) -> SourceConfig:
    """One entry of `sources:` -> its model. Raises ValueError, of which pydantic.ValidationError is one."""
    return model_of(data.get("kind")).model_validate(data)


def open_source(config: SourceConfig, base_dir: Path, private_dir: Path) -> Source:
    """Open what an entry describes.

    base_dir: the folder of department.yaml, where relative paths start. private_dir: a folder of the
    agent alone, for caches and snapshots (made if missing). Raises SourceError or ValueError naming the
    missing file, secret or setting.
    """
    return config.open(base_dir, private_dir)
