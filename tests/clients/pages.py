"""The snippets of docs/how-to/connect, as the suites use them: what a reader copies is what was tried.

A fenced block is found by its title, such as ```` ```text title="JDBC URL" ````. The address that pages
show, 127.0.0.1:8080, becomes the running city's.
"""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "how-to" / "connect"
SHOWN = re.compile(r"127\.0\.0\.1:8080\b")


def snippet(page: str, title: str, port: int) -> str:
    """The text of one block of `PAGES/page.md`, with the running gateway's port. KeyError without it."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    found = re.search(rf'^```\w+ title="{re.escape(title)}"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise KeyError(f"{page}.md has no block titled {title!r}")
    return here(found[1], port)


def here(text: str, port: int) -> str:
    """A snippet with this port in place of the one that pages show."""
    text = SHOWN.sub(f"127.0.0.1:{port}", text)
    return re.sub(r"\b8080\b", str(port), text).strip("\n")


def line(page: str, title: str, port: int) -> str:
    """A block that is one line: an address."""
    (found,) = snippet(page, title, port).splitlines()
    return found
