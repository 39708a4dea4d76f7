"""A grant more in the text of a department.yaml: the owner's own words, comments and order stay as they are.

    with_grant(text, {"id": "request-1f0c", "relation": "stay", ..}, "asked for by ana")

The text is changed at one place and read again: it must say what it said before and the grant, and nothing else.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from catalog.policy.faults import PolicyError
from catalog.policy.yaml_lines import read_yaml

__all__ = ["with_grant"]

_BREAKS = "\n\r\x85\u2028\u2029"
_LINE = re.compile(f"[^{_BREAKS}]*(?:\r\n|[{_BREAKS}])|[^{_BREAKS}]+\\Z")
"""Lines as YAML's marks count them; `splitlines` breaks at more signs."""


def with_grant(text: str, grant: dict[str, Any], note: str = "") -> str:
    """The text with one more grant, the last of `grants`, under a comment. Raises PolicyError if it has no place.

    note: one line; signs that no line holds become blanks.
    """
    plain = "".join(c if c.isprintable() else " " for c in note)
    new = next((new for new in _placed(text, grant, plain) if _adds(text, new, grant)), None)
    if new is None:
        raise PolicyError(["no place was found for the grant; add it by hand:\n" + _entry(grant, "", 0)])
    return new


def _adds(text: str, new: str, grant: dict[str, Any]) -> bool:
    """Whether the new text says what the old one says, and the grant."""
    try:
        before, after = read_yaml(text)[0], read_yaml(new)[0]
    except (yaml.YAMLError, RecursionError):
        return False
    return bool(after == {**before, "grants": [*(before.get("grants") or []), grant]})


def _placed(text: str, grant: dict[str, Any], note: str) -> Iterator[str]:
    """The text with the grant at each place that may be right, the likeliest first."""
    found = _grants(text)
    lines = _LINE.findall(text)
    if found is None:
        yield _inserted(lines, len(lines), "grants:\n" + _entry(grant, note, 2))
    elif isinstance(found, yaml.ScalarNode):  # the key alone
        yield _inserted(lines, found.start_mark.line + 1, _entry(grant, note, 2))
    elif isinstance(found, yaml.SequenceNode) and found.flow_style:
        at = found.end_mark.index - 1
        comma = "" if not found.value or text[:at].rstrip().endswith(",") else ", "
        flow = yaml.safe_dump(grant, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6).strip()
        yield text[:at] + comma + flow + text[at:]
    elif isinstance(found, yaml.SequenceNode) and found.value:
        end = found.value[-1].end_mark
        last = line = end.line + 1 if "".join(lines[end.line : end.line + 1])[: end.column].strip() else end.line
        # A block ends where the next one begins: comments and blank lines before that belong to what follows.
        while line > 0 and lines[line - 1].strip()[:1] in ("", "#"):
            line -= 1
        entry = _entry(grant, note, found.start_mark.column)
        yield _inserted(lines, line, entry)
        yield _inserted(lines, last, entry)  # what looked like a comment was a text


def _inserted(lines: list[str], at: int, entry: str) -> str:
    head = "".join(lines[:at])
    return head + ("" if head.endswith("\n") or not head else "\n") + entry + "".join(lines[at:])


def _grants(text: str) -> yaml.Node | None:
    """The node of `grants`; None if the key is missing. Raises PolicyError for a text that is no mapping."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as bad:
        raise PolicyError(["the file is no YAML"]) from bad
    if not isinstance(root, yaml.MappingNode):
        raise PolicyError(["the file must be a mapping that begins with `department:`"])
    return next((value for key, value in root.value if key.value == "grants"), None)


def _entry(grant: dict[str, Any], note: str, indent: int) -> str:
    """One item of a block list, with the note above it."""
    body = yaml.safe_dump([grant], sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    comment = f"# {note}\n" if note else ""
    return textwrap.indent(comment + body, " " * indent)
