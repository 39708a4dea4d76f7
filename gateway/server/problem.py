"""An answer that is no SQL error: a status and one line of text; and whom a refusal names to be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catalog.errors import CityError

__all__ = ["HttpProblem", "answerable"]


def answerable(error: CityError, contact: Callable[[str], str]) -> CityError:
    """The error with whom to ask about it: its department, or this gateway's operator. Called where errors leave.

    contact: name of a department -> whom to ask, the gateway's own for any other name.
    """
    return error.with_contact(contact(error.about or error.who))


class HttpProblem(Exception):
    """status, one line of text that is shown to users, headers."""

    def __init__(self, status: int, text: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = tuple(headers)
