"""Asking for access: what an applicant sends to a department, and what the department says of it.

An application names a table by its bare name, whether or not there is one: it is filed all the same, so that filing
tells nothing. What it may tell is what the owner lists (`listed: true`): name and description.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from catalog.names import PlainName

__all__ = ["MAX_REASON", "AccessAnswer", "AccessRequest", "Application", "Listed"]

MAX_REASON = 500
MAX_COLUMNS = 100


def _one_line(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("is one line of text, without blanks at its ends")
    return text


_Line = Annotated[str, AfterValidator(_one_line)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AccessRequest(_Frozen):
    """`POST /v1/requests`: a table for the purpose of the token that comes with it.

    columns: those that are needed, () = whatever the owner gives. until: how long. project: on whose behalf.
    """

    relation: PlainName
    reason: Annotated[_Line, Field(min_length=1, max_length=MAX_REASON)]
    columns: tuple[PlainName, ...] = Field(default=(), max_length=MAX_COLUMNS)
    until: date | None = None
    project: Annotated[_Line, Field(max_length=100)] = ""


class Application(_Frozen):
    """One application as its applicant sees it. state: pending, declined, granted, ended, or approved and not in force.

    at: when it was filed, UTC. ends: the last day or moment of the grant. note: the owner's words. grant: its id.
    """

    id: Annotated[str, Field(pattern="^[0-9a-f]{1,32}$")]
    relation: str
    purpose: str
    reason: str
    columns: tuple[str, ...] = ()
    until: str = ""
    project: str = ""
    at: str = ""
    state: str = "pending"
    ends: str = ""
    note: str = ""
    grant: str = ""


class Listed(_Frozen):
    """A table that its owner lists for everybody."""

    name: str
    comment: str = ""


class AccessAnswer(_Frozen):
    """`GET /v1/requests`: what a department lists, and the user's own applications, newest first."""

    department: str
    contact: str = ""
    listed: tuple[Listed, ...] = ()
    mine: tuple[Application, ...] = ()
