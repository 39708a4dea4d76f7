"""The `sources:` entries of department.yaml: one strict model a kind, and `open_source`.

A new kind is one file with a `SourceConfig` and a `Source`, and one line in `KINDS`.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter

from connectors.base import Source
from connectors.config import SourceConfig
from connectors.files import FilesConfig
from connectors.mysql import MysqlConfig
from connectors.postgres import PostgresConfig
from connectors.rest import RestConfig
from connectors.sqlite import SqliteConfig

__all__ = ["KINDS", "AnySource", "SourceConfig", "open_source", "parse_source"]

KINDS: dict[str, type[SourceConfig]] = {
    "sqlite": SqliteConfig,
    "rest": RestConfig,
    "files": FilesConfig,
    "postgres": PostgresConfig,
    "mysql": MysqlConfig,
}


def _known_kind(data: Any) -> Any:
    """Say which kinds exist before pydantic complains about a union."""
    if isinstance(data, dict) and data.get("kind") not in KINDS:
        kind = data.get("kind")
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"kinds: {', '.join(sorted(KINDS))}"
        raise ValueError(f"unknown kind of source {kind!r}: {hint}")
    return data


if TYPE_CHECKING:
    AnySource = SourceConfig
else:
    _one_of = Union[tuple(KINDS.values())]  # noqa: UP007 - built from the dict above
    AnySource = Annotated[_one_of, Field(discriminator="kind"), BeforeValidator(_known_kind)]
    """Use as a pydantic field: `sources: dict[str, AnySource]`."""


_ADAPTER: TypeAdapter[SourceConfig] = TypeAdapter(AnySource, config=ConfigDict(hide_input_in_errors=True))


def parse_source(data: dict[str, Any]) -> SourceConfig:
    """One entry of `sources:` -> its model. Raises pydantic.ValidationError (a ValueError)."""
    return _ADAPTER.validate_python(data)


def open_source(config: SourceConfig, base_dir: Path, private_dir: Path) -> Source:
    """Open what an entry describes.

    base_dir: the folder of department.yaml, where relative paths start. private_dir: a folder of the
    agent alone, for caches and snapshots (made if missing). Raises SourceError or ValueError naming the
    missing file, secret or setting.
    """
    return config.open(base_dir, private_dir)
