"""Everything that decides, read once: department.yaml, its owner views, lists and pinned keys.

A policy is more than its yaml: a view or a hierarchy that somebody exchanged changes what is shown. So they are
read together, checked together and, where signatures are required, signed together; what was checked is what
is used, and no file is opened a second time. Only regular files are read, `MAX_POLICY` bytes of them in all:
whoever may write one must not be able to make the agent wait, or fill its memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from catalog.exchange import sha256
from catalog.files import read_file
from catalog.policy.yaml_lines import read_yaml

__all__ = ["Bundle", "Stamp", "read_bundle", "signed_name", "stamp"]

FOLDERS = ("views", "hierarchies", "mappings", "synthetic")
ENDINGS = (".sql", ".csv", ".yaml", ".yml", ".json")
"""What is read of these folders; the rest (an editor's copies) decides nothing."""

MAX_POLICY = 64 << 20

Stamp = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True)
class Bundle:
    """A policy's files as they were at one moment. Names are paths from the folder of department.yaml, with `/`.

    text: of department.yaml. files: contents of views, lists and the identity provider's public keys. digests:
    SHA-256 of all of them and of secrets that the policy names, which are not kept. missing: named, but not there.
    named: files that department.yaml names, also missing ones. signed: the file of signatures beside it, None
    without one. stamp: see `stamp`; each file's part was taken before that file was read.
    """

    name: str
    text: str
    files: Mapping[str, bytes]
    digests: Mapping[str, str]
    missing: tuple[str, ...]
    named: tuple[str, ...]
    signed: bytes | None
    stamp: Stamp = field(repr=False)


def read_bundle(path: Path) -> Bundle:
    """Read a policy and all that belongs to it. Raises OSError, UnicodeDecodeError.

    A file that cannot be understood names no other files: whoever parses it says why.
    """
    look = _look(str(path.parent), path.name)
    _, data = read_file(path, MAX_POLICY)
    left = MAX_POLICY - len(data)
    text = data.decode("utf-8")
    document = _document(text)
    secrets = set(_secrets(document))
    named = (*_lists(document), *_public_keys(document), *sorted(secrets))
    looks, found = [look], {path.name: data}
    for name in _others(path, named):
        looks.append(_look(str(path.parent), name))
        try:
            _, found[name] = read_file(path.parent / name, left)
        except FileNotFoundError:
            continue
        left -= len(found[name])
    signed = found.pop(signed_name(path.name), None)
    files = {name: content for name, content in found.items() if name != path.name and name not in secrets}
    digests = {name: sha256(content) for name, content in found.items()}
    missing = tuple(name for name in named if name not in found)
    return Bundle(path.name, text, files, digests, missing, named, signed, tuple(looks))


def signed_name(name: str) -> str:
    """`department.yaml` -> `department.signed.json`."""
    return f"{name.rsplit('.', 1)[0]}.signed.json"


def stamp(path: Path, named: Iterable[str]) -> Stamp:
    """Changes whenever a file that decides may have changed, whatever its time and size were set to. No reading.

    named: what the policy named when it was read. A file that comes or goes is a change too.
    """
    folder = str(path.parent)
    return tuple([_look(folder, name) for name in (path.name, *_others(path, named))])


def _others(path: Path, named: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([signed_name(path.name), *_in_folders(str(path.parent)), *named]))


def _look(folder: str, name: str) -> tuple[str, int, int, int, int]:
    """Asked of every file before every answer."""
    try:
        found = os.stat(os.path.join(folder, name))  # a secret may lie anywhere
    except OSError:
        return name, 0, 0, 0, 0
    # The time of the last change of the inode cannot be set back as that of the content can.
    return name, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _in_folders(folder: str) -> list[str]:
    found = list[str]()
    for name in FOLDERS:
        _add_files(folder, name, found)
    return sorted(found)


def _add_files(folder: str, name: str, found: list[str]) -> None:
    """Add what is read of a folder, and of those within it that are no links.

    What cannot be looked at, as a link to itself, is not there: a policy that needs it is refused.
    """
    try:
        entries = list(os.scandir(f"{folder}/{name}"))
    except OSError:
        return
    for entry in entries:
        inner = f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            _add_files(folder, inner, found)
        elif not entry.name.startswith(".") and os.path.splitext(inner)[1] in ENDINGS and os.path.isfile(entry):
            found.append(inner)


def _document(text: str) -> dict[str, Any]:
    try:
        data, _ = read_yaml(text)
    except (yaml.YAMLError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _lists(document: Mapping[str, Any]) -> list[str]:
    found = document.get("hierarchies")
    return [name for name in found.values() if isinstance(name, str)] if isinstance(found, dict) else []


def _public_keys(document: Mapping[str, Any]) -> list[str]:
    """The pinned keys of the identity provider: they decide whom the agent believes."""
    identity = document.get("identity")
    return _files([identity.get("jwks")]) if isinstance(identity, dict) else []


def _secrets(document: Mapping[str, Any]) -> list[str]:
    """Roots of linkage groups: they decide how pseudonyms come out."""
    groups = document.get("linkage_groups")
    entries = groups.values() if isinstance(groups, dict) else ()
    return _files([entry.get("root") for entry in entries if isinstance(entry, dict)])


def _files(references: Iterable[Any]) -> list[str]:
    found = [r for r in references if isinstance(r, str) and r and not r.startswith("env:")]
    return [r.removeprefix("file:") for r in found]
