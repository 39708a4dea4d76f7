"""From the text of a department.yaml to a `Department`, or to every mistake in it, named with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from catalog.exchange import canonical_json, sha256
from catalog.policy.bundle import Bundle, read_bundle
from catalog.policy.checks import check
from catalog.policy.faults import Fault, PolicyError, nearest, placed
from catalog.policy.models import Department
from catalog.policy.testing import failures
from catalog.policy.yaml_lines import Lines, read_yaml

__all__ = ["digest", "from_bundle", "load", "parse"]


def load(path: str | Path, tests: bool = True) -> Department:
    """Read and check department.yaml with all that belongs to it. tests: whether its own tests must hold.

    Raises PolicyError; OSError or UnicodeDecodeError if a file cannot be read.
    """
    return from_bundle(read_bundle(Path(path)), tests)


def from_bundle(bundle: Bundle, tests: bool = True) -> Department:
    """Check a policy that was read. Raises PolicyError."""
    return parse(bundle.text, bundle.files, tests)


def parse(text: str, files: Mapping[str, bytes] | None = None, tests: bool = True) -> Department:
    """Check the text of a department.yaml. files: views and lists beside it by path, None: not looked at."""
    data, lines = _yaml(text)
    if not isinstance(data, dict):
        raise PolicyError(["the file must be a mapping that begins with `department:`"])
    try:
        department = Department.model_validate(data)
    except ValidationError as bad:
        found = [fault for error in bad.errors() for fault in _faults(error)]
        raise PolicyError([placed(f, lines, data) for f in dict.fromkeys(found)]) from bad
    wrong = list(check(department, files))
    if wrong:
        raise PolicyError([placed(f, lines, data) for f in wrong])
    failed = next(failures(department, files), None) if tests else None
    if failed is not None:
        raise PolicyError([placed(failed, lines, data)], "tests")
    return department


def digest(department: Department, files: Mapping[str, str] | None = None) -> str:
    """The policy's version: SHA-256 of its content in canonical form, with the digests of files beside it."""
    body = _exact(department.model_dump(mode="json", by_alias=True))
    return sha256(canonical_json({"policy": body, "files": dict(files)} if files else body))


def _exact(value: Any) -> Any:
    """The same with every fraction as its text: what is hashed holds no floats."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    return [_exact(inner) for inner in value] if isinstance(value, list) else value


def _yaml(text: str) -> tuple[Any, Lines]:
    try:
        return read_yaml(text)
    except yaml.MarkedYAMLError as bad:
        line = f"line {bad.problem_mark.line + 1}: " if bad.problem_mark else ""
        raise PolicyError([f"{line}the file is no YAML: {bad.problem or bad.context}"]) from bad
    except yaml.YAMLError as bad:
        raise PolicyError([f"the file is no YAML: {bad}"]) from bad
    except RecursionError:
        raise PolicyError(["the file is nested too deeply"]) from None


# ---- what pydantic says, in words of the file -------------------------------------------------------------

_WORDS = {
    "missing": "is missing",
    "tuple_type": "must be a list, such as [a, b]",
    "dict_type": "must be a mapping, such as {a: b}",
    "model_type": "must be a mapping, such as {a: b}",
    "string_type": "must be a text; put it in quotes if YAML reads it as something else",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "too_short": "must not be empty",
}


def _faults(error: Any) -> Iterator[Fault]:
    path = _path(error["loc"])
    context = error.get("ctx") or {}
    if error["type"] == "unknown_keys":
        for key, text in context["texts"].items():
            yield Fault((*path, key), text)
    elif error["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", str(context["expected"]))
        near = nearest(str(error["input"]), known)
        yield Fault(path, f"{error['input']!r} is none of {', '.join(k or '(empty)' for k in known)}{near}")
    elif error["type"] in _WORDS:
        given = "" if error["type"] == "missing" or error["input"] is None else f", not {_short(error['input'])}"
        yield Fault(path, _WORDS[error["type"]] + given)
    else:
        yield Fault(path, str(error["msg"]).removeprefix("Value error, "))


def _path(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Keys and numbers of the document, without pydantic's words for its own branches."""
    path = tuple(part for part in location if isinstance(part, int) or part != "[key]")
    return path[:-1] if path[-1:] in (("date",), ("datetime",)) and path[-2:-1] != ("columns",) else path


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
