"""An answer that is no SQL error: a status and one line of text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["HttpProblem"]


class HttpProblem(Exception):
    """status, one line of text that is shown to users, headers."""

    def __init__(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = tuple(headers)
