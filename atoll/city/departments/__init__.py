"""The demonstration city's departments: what each serves, to whom, and its owner views.

`<name>/department.yaml` is a template: complete and valid but for what an installation decides.
`install` writes it, with the views beside it, where an agent is to be started from.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["NAMES", "install", "template"]

NAMES = ("water", "environment", "market", "health", "chemicals", "housing")
_HERE = Path(__file__).parent


def template(name: str) -> dict[str, Any]:
    """The department.yaml of `name` as it stands here. Raises KeyError for an unknown department."""
    if name not in NAMES:
        raise KeyError(f"no department {name!r}; there are {', '.join(NAMES)}")
    read: dict[str, Any] = yaml.safe_load((_HERE / name / "department.yaml").read_text(encoding="utf-8"))
    return read


def install(
    name: str,
    folder: Path,
    *,
    source: Mapping[str, Any],
    years: Sequence[int],
    identity: Mapping[str, Any] | None = None,
    roots: Mapping[str, str] | None = None,
    **settings: Any,
) -> Path:
    """Write `folder`/department.yaml and `folder`/views; returns the path of the yaml.

    source: replaces `sources.main` if it names a `kind`, else its entries are changed alone (a `path`, a
    `url` and `rate`). years: with data; they become the public list of years. identity: issuer, audience
    and jwks. roots: linkage group -> reference to its root. settings: other keys (`listen`, `owner_listen`,
    `state`). Paths and `file:` references start at `folder`. Raises KeyError for an unknown department,
    linkage group or setting.
    """
    written = template(name)
    main = written["sources"]["main"]
    written["sources"]["main"] = dict(source) if "kind" in source else {**main, **source}
    if identity is not None:
        written["identity"] = dict(identity)
    for group, root in (roots or {}).items():
        written["linkage_groups"][group]["root"] = root
    for key, value in settings.items():
        if key not in ("listen", "owner_listen", "state", "limits"):
            raise KeyError(f"{key!r} is not decided at installation")
        written[key] = value
    _set_years(written, [str(year) for year in years])
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(_HERE / name / "views", folder / "views", dirs_exist_ok=True)
    path = folder / "department.yaml"
    path.write_text(yaml.safe_dump(written, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def _set_years(written: dict[str, Any], years: list[str]) -> None:
    lists = [written.get("code_lists", {}), *(grant.get("public", {}) for grant in written["grants"])]
    for codes in lists:
        if "year" in codes:
            codes["year"] = list(years)
