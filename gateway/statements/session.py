"""Statements about the client's session: USE, SET, RESET, transactions; and the session's properties."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from catalog import duck
from catalog.errors import AccessDenied, Outcome, TrinoError, UserError
from gateway.execution import Effects, Session
from gateway.statements.kinds import Effect, NameParts, Statement
from gateway.statements.reader import Handler, Reader, location, unsupported

__all__ = [
    "HANDLERS",
    "PROPERTIES",
    "Property",
    "catalog_of",
    "check_properties",
    "check_property",
    "effect",
    "is_zone",
    "schema_of",
    "seconds_of",
]


@dataclass(frozen=True)
class Property:
    """One session property. kind: "boolean", "duration", "text" or "zone"."""

    name: str
    kind: str
    default: str
    description: str


PROPERTIES = {
    p.name: p
    for p in (
        Property(
            "allow_partial",
            "boolean",
            "false",
            "Arms of a UNION ALL may be missing when a department is down",
        ),
        Property("fresh", "boolean", "false", "Ask departments also where an answer was kept"),
        Property("purpose", "text", "", "Which of your purposes you ask for; with one purpose it is that one"),
        Property("query_max_run_time", "duration", "1h", "Give up after this time"),
        Property("require_pushdown", "boolean", "false", "Refuse a query that needs all rows of a relation here"),
        Property("time_zone_id", "zone", "", "Time zone of now(), current_date and moments without one"),
    )
}


_DURATION = re.compile(r"\d+(?:\.\d+)?\s*(?:ms|s|m|h|d)\Z")


def check_properties(properties: dict[str, str]) -> None:
    """Raise INVALID_SESSION_PROPERTY for an unknown property (with the nearest name) or a bad value."""
    for name, value in properties.items():
        check_property(name, value)


def check_property(name: str, value: str) -> None:
    """Raise INVALID_SESSION_PROPERTY for one unknown property or bad value."""
    known = PROPERTIES.get(name)
    if known is None:
        near = difflib.get_close_matches(name, PROPERTIES, 1, 0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(PROPERTIES)}."
        raise _invalid_property(f"Session property '{name}' does not exist.", hint)
    valid = {
        "boolean": value.lower() in ("true", "false"),
        "duration": bool(_DURATION.match(value)),
        "zone": is_zone(value),
        "text": len(value) <= 200,
    }
    if not valid[known.kind]:
        example = {"boolean": "true or false", "duration": "a duration such as '5m'", "zone": "a zone id"}
        wanted = example.get(known.kind, "a short text")
        raise _invalid_property(f"Session property '{name}' must be {wanted}.", "")


def seconds_of(duration: str) -> float:
    """Seconds of a checked duration such as `5m` or `1.5h`."""
    number, unit = re.match(r"([0-9.]+)\s*([a-z]+)", duration.strip()).groups()  # type: ignore[union-attr]
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def is_zone(text: str) -> bool:
    """Whether a text names a time zone: an IANA name or an offset such as +08:00."""
    try:
        duck.zone_of(text, TrinoError.INVALID_SESSION_PROPERTY)
    except UserError:
        return False
    return True


def _invalid_property(message: str, hint: str) -> UserError:
    return UserError(message, Outcome.SEMANTIC, trino=TrinoError.INVALID_SESSION_PROPERTY, hint=hint)


def effect(update_type: str, requires: tuple[NameParts, ...] = (), **changes: Any) -> Effect:
    """An effect on the client\'s session; `changes` are fields of `Effects`."""
    return Effect(Effects(update_type=update_type, **changes), requires=requires)


def catalog_of(reader: Reader, session: Session) -> str:
    """The session's catalog. Raises MISSING_CATALOG_NAME without one."""
    if not session.catalog:
        raise UserError(
            "Catalog must be specified when session catalog is not set.",
            trino=TrinoError.MISSING_CATALOG_NAME,
            location=location(reader.sql, reader.tokens[0].start),
        )
    return session.catalog.lower()


def schema_of(reader: Reader, session: Session) -> NameParts:
    """The session's catalog and schema. Raises MISSING_CATALOG_NAME or MISSING_SCHEMA_NAME."""
    catalog = catalog_of(reader, session)
    if not session.schema:
        raise UserError(
            "Schema must be specified when session schema is not set.",
            trino=TrinoError.MISSING_SCHEMA_NAME,
            location=location(reader.sql, reader.tokens[0].start),
        )
    return catalog, session.schema.lower()


def _use(reader: Reader, session: Session) -> Statement:
    name = reader.name()
    reader.end()
    if len(name) > 2:
        raise unsupported(reader, "USE with a table name")
    catalog, schema = name if len(name) == 2 else (catalog_of(reader, session), name[0])
    return effect("USE", ((catalog, schema),), set_catalog=catalog, set_schema=schema)


def _set(reader: Reader, session: Session) -> Statement:
    match reader.expect("SESSION", "TIME", "ROLE", "PATH"):
        case "SESSION":
            return _set_session(reader)
        case "TIME":
            reader.expect("ZONE")
            return _set_time_zone(reader)
        case "ROLE":
            return _set_role(reader)
        case _:
            return effect("SET PATH", set_path=reader.rest().strip())


def _set_session(reader: Reader) -> Statement:
    if reader.word("AUTHORIZATION"):
        raise AccessDenied(
            "Nobody can act as somebody else here: the token's own name counts.",
            Outcome.AUTH,
            rule="identity",
        )
    name = ".".join(reader.name())
    if not reader.sign("="):
        raise reader.error("=")
    value = _property_value(reader)
    reader.end()
    check_property(name, value)
    return effect("SET SESSION", set_session=((name, value),))


def _property_value(reader: Reader) -> str:
    token = reader.take()
    if token.kind in ("string", "number"):
        return token.value
    if token.upper in ("TRUE", "FALSE"):
        return token.text.lower()
    reader.index -= 1
    raise reader.error("a text in single quotes", "TRUE", "FALSE")


def _set_time_zone(reader: Reader) -> Statement:
    if reader.word("LOCAL"):
        reader.end()
        return effect("SET TIME ZONE", clear_session=("time_zone_id",))
    zone = _interval_zone(reader) if reader.word("INTERVAL") else reader.string()
    reader.end()
    if not is_zone(zone):
        raise UserError(f"'{zone}' is not a time zone.", trino=TrinoError.INVALID_LITERAL)
    return effect("SET TIME ZONE", set_session=(("time_zone_id", zone),))


def _interval_zone(reader: Reader) -> str:
    negative = reader.sign("-")
    text = reader.string()
    unit = reader.expect("HOUR", "MINUTE")
    if reader.word("TO"):
        reader.expect("MINUTE")
        hours, _, minutes = text.lstrip("+-").partition(":")
    else:
        hours, minutes = (text.lstrip("+-"), "0") if unit == "HOUR" else ("0", text.lstrip("+-"))
    if not (hours.isdigit() and minutes.isdigit()):
        raise UserError(f"'{text}' is not an interval.", trino=TrinoError.INVALID_LITERAL)
    total = int(hours) * 60 + int(minutes)
    sign = "-" if negative != text.startswith("-") else "+"
    return f"{sign}{total // 60:02d}:{total % 60:02d}"


def _set_role(reader: Reader) -> Statement:
    role = reader.identifier()
    if reader.word("IN"):
        reader.identifier()
    reader.end()
    if role not in ("all", "none"):
        raise UserError(
            f"Role '{role}' does not exist.",
            trino=TrinoError.NOT_FOUND,
            hint="Departments grant to users and purposes; SET SESSION purpose = '...' chooses among yours.",
        )
    return effect("SET ROLE", set_role=f"system={role.upper()}")


def _reset(reader: Reader, session: Session) -> Statement:
    reader.expect("SESSION")
    if reader.word("AUTHORIZATION"):
        reader.end()
        return effect("RESET SESSION AUTHORIZATION", reset_authorization=True)
    name = ".".join(reader.name())
    reader.end()
    check_property(name, PROPERTIES[name].default if name in PROPERTIES and name != "time_zone_id" else "UTC")
    return effect("RESET SESSION", clear_session=(name,))


def _start(reader: Reader, session: Session) -> Statement:
    reader.expect("TRANSACTION")
    while reader.peek() is not None:
        _transaction_mode(reader)
        if not reader.sign(","):
            reader.end()
    if not session.transaction:
        raise UserError("This client does not know transactions.", trino=TrinoError.INCOMPATIBLE_CLIENT)
    if session.transaction.upper() != "NONE":
        raise UserError("Nested transactions not supported.", Outcome.STATEMENT)
    # The server that holds the open transactions puts the id in.
    return effect("START TRANSACTION", started_transaction="NEW")


def _transaction_mode(reader: Reader) -> None:
    if reader.words("ISOLATION", "LEVEL"):
        if not (
            reader.words("READ", "UNCOMMITTED")
            or reader.words("READ", "COMMITTED")
            or reader.words("REPEATABLE", "READ")
            or reader.word("SERIALIZABLE")
        ):
            raise reader.error("READ", "REPEATABLE", "SERIALIZABLE")
        return
    if not (reader.words("READ", "ONLY") or reader.words("READ", "WRITE")):
        raise reader.error("ISOLATION", "READ")


def _end_transaction(kind: str) -> Handler:
    def handle(reader: Reader, session: Session) -> Statement:
        reader.word("WORK")
        reader.end()
        if session.transaction.upper() in ("", "NONE"):
            raise UserError("No transaction in progress.", trino=TrinoError.NOT_IN_TRANSACTION)
        return effect(kind, clear_transaction=True)

    return handle


HANDLERS: dict[str, Handler] = {
    "USE": _use,
    "SET": _set,
    "RESET": _reset,
    "START": _start,
    "COMMIT": _end_transaction("COMMIT"),
    "ROLLBACK": _end_transaction("ROLLBACK"),
}
