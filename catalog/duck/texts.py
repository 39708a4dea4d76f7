"""Values as texts: what a cast to varchar writes."""

from __future__ import annotations

from catalog.duck.moments import local_time
from catalog.duck.typing import Typed, mismatch, sql_text

__all__ = ["text_of"]


def text_of(value: Typed) -> str:
    """A value as a cast to varchar writes it. Raises TYPE_MISMATCH for a type that has no text."""
    source, sql = value.type, value.sql
    match source.name:
        case "varchar" | "uuid" | "ipaddress":
            return sql
        case "char":
            return f"rpad({sql}, {source.args[0]}, ' ')"
        case "double":
            return f"tr_double_text({sql})"
        case "real":
            return f"tr_real_text({sql})"
        case "date":
            return f"tr_date_text({sql})"
        case "timestamp" | "timestamp with time zone":
            zone = f" || {sql_text(' ' + source.zone)}" if source.name != "timestamp" else ""
            return f"({_stamp_text(local_time(value), source.args[0])}{zone})"
        case "time":
            return f"substr(strftime(DATE '2000-01-01' + {sql}, '%H:%M:%S.%f'), 1, {_seconds_width(source.args[0])})"
        case "interval day to second":
            return f"tr_days_text({sql})"
        case "interval year to month":
            return f"tr_months_text({sql})"
        case "boolean":
            return f"CAST({sql} AS VARCHAR)"
    if source.name == "decimal" and source.args[0] == source.args[1]:
        # DuckDB leaves out the 0 before the point where there is no digit for it.
        return f"regexp_replace(CAST({sql} AS VARCHAR), '^(-?)[.]', '\\1' || '0.')"
    if not source.is_numeric:
        raise mismatch(f"Cannot cast {source} to varchar.")
    return f"CAST({sql} AS VARCHAR)"


def _seconds_width(digits: int) -> int:
    return 8 + digits + (digits > 0)


def _stamp_text(sql: str, digits: int) -> str:
    return f"tr_stamp_text({sql}, {26 - 6 + digits - (digits == 0)})"
