"""What every entry under `sources:` in department.yaml shares: strict keys, secrets, relative paths."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from connectors.base import Source

__all__ = ["SecretRef", "SourceConfig", "Strict", "resolve_path", "resolve_secret"]


def _reference(text: str) -> str:
    scheme, _, rest = text.partition(":")
    if scheme not in ("env", "file") or not rest:
        raise ValueError("a secret is given by reference only: `env:NAME` or `file:PATH`")
    return text


SecretRef = Annotated[str, AfterValidator(_reference)]
"""`env:NAME` or `file:PATH`; the secret itself never stands in a configuration file."""


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and suggests the nearest known one."""

    # A password written where a reference belongs must not come back in the complaint about it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key not in known:
                    near = difflib.get_close_matches(str(key), known, n=1)
                    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
                    raise ValueError(f"unknown key {key!r}: {hint}")
        return data


class SourceConfig(Strict):
    """Base of every source's configuration. `kind` is declared by each as a Literal."""

    def open(self, base_dir: Path, private_dir: Path) -> Source:
        """Open the source. Raises SourceError if a secret or file is missing; may connect lazily."""
        raise NotImplementedError


def resolve_path(text: str, base_dir: Path) -> Path:
    """A path of the configuration; relative ones start at the folder of department.yaml."""
    return (base_dir / text).resolve()


def resolve_secret(reference: str | None, base_dir: Path) -> str | None:
    """The secret behind a reference. Raises ValueError naming the reference, never its content."""
    if reference is None:
        return None
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        if rest not in os.environ:
            raise ValueError(f"the environment variable {rest} of {reference!r} is not set")
        return os.environ[rest]
    try:
        return resolve_path(rest, base_dir).read_text(encoding="utf-8").strip()
    except OSError:
        raise ValueError(f"the file of secret {reference!r} cannot be read") from None
