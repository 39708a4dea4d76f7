"""The cases as data, and the judge: what is wrong with how one case was answered, nothing if all is well.

A case is an entry of `cases/*.yaml`: name, who, purpose, sql (or a forged request), `expect`, and `control`, a legal
statement of the same shape that must be answered with its right rows, so that refusing everything fails.

`expect`: names of outcomes, any of which will do; `masked` (the default): the answer over the masked copy; or rows.
A list may mix outcomes and lists of rows. Where a control gives no `rows`, they are those over the masked copy.
`ordered`: rows must come in this order. `repeat`: [piece, times, closing piece] for {x} and {y} in the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from catalog.errors import CityError, Outcome
from tests.attack.door import Door, Reply
from tests.attack.world import USERS
from tests.masks_first.oracle import Oracle, bag

__all__ = ["CLASSES", "Case", "cases", "judge", "judge_control"]

FOLDER = Path(__file__).parent / "cases"
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """One hostile question and its legal twin. See the module's text for the fields."""

    name: str
    kind: str
    sql: str = ""
    who: str = "lin"
    purpose: str = "mass-balance"
    outcomes: tuple[str, ...] = ()
    answers: tuple[Rows, ...] = ()
    masked: bool = False
    ordered: bool = False
    keys: tuple[Any, ...] | None = None
    control: str = ""
    control_keys: tuple[Any, ...] | None = None
    rows: Rows | None = None
    like: str = ""
    like_keys: tuple[Any, ...] | None = None
    names: tuple[str, str] = ("", "")
    gateway: str = "refused"
    control_gateway: str = "answered"
    forged: dict[str, Any] = field(default_factory=dict)

    def under(self, department: str) -> Case:
        """The same case about another catalog."""

        def moved(text: str) -> str:
            return text.replace("dept.", f"{department}.").replace("DEPT.", f"{department.upper()}.")

        return replace(self, sql=moved(self.sql), control=moved(self.control), like=moved(self.like))


def _read(path: Path) -> Iterable[Case]:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    defaults = {k: data[k] for k in ("who", "purpose") if k in data}
    for entry in data["cases"]:
        yield _case(data["class"], {**defaults, **entry})


def _case(kind: str, entry: dict[str, Any]) -> Case:
    known = {"name", "who", "purpose", "sql", "expect", "control", "rows", "keys", "control_keys", "gateway", "ordered",
             "repeat", "like", "like_keys", "names", "control_gateway", "token", "request"}  # fmt: skip
    unknown = set(entry) - known
    if unknown:
        raise ValueError(f"case {entry.get('name')!r}: unknown fields {sorted(unknown)}")
    outcomes, answers, masked = _expected(entry.get("expect", "masked"))
    sql = entry.get("sql", "")
    if "repeat" in entry:
        piece, times, *closing = entry["repeat"]
        sql = sql.replace("{x}", piece * times).replace("{y}", (closing[0] if closing else "") * times)
    forged: dict[str, Any] = {k: entry[k] for k in ("token", "request") if k in entry}
    control = entry.get("control", "")
    if kind == "identity":
        forged["control"] = control or {}
        control = ""
    return Case(
        entry["name"], kind, sql, entry.get("who", "lin"), entry.get("purpose", "mass-balance"), outcomes, answers,
        masked, entry.get("ordered", False), _tuple(entry.get("keys")), control, _tuple(entry.get("control_keys")),
        None if "rows" not in entry else [tuple(r) for r in entry["rows"]], entry.get("like", ""),
        _tuple(entry.get("like_keys", entry.get("keys"))), tuple(entry.get("names", ("", ""))),
        entry.get("gateway", "refused"), entry.get("control_gateway", "answered"), forged,
    )  # fmt: skip


def _tuple(value: Any) -> tuple[Any, ...] | None:
    return None if value is None else tuple(value)


def _expected(value: Any) -> tuple[tuple[str, ...], tuple[Rows, ...], bool]:
    """(outcomes, possible answers, whether the masked copy's answer is one)."""
    if value == "masked":
        return (), (), True
    if isinstance(value, str):
        return (value,), (), False
    if _is_rows(value):
        return (), ([tuple(r) for r in value],), False
    outcomes = tuple(v for v in value if isinstance(v, str))
    return outcomes, tuple([tuple(r) for r in v] for v in value if not isinstance(v, str)), False


def _is_rows(value: Sequence[Any]) -> bool:
    """[[1, 2]] is rows; [NODE, [[1, 2]]] and [[[1, 2]], NODE] are alternatives."""
    return all(isinstance(v, list) and not any(isinstance(x, list) for x in v) for v in value)


CLASSES = ("decisions", "masks", "order", "admission", "outcomes", "identity")


def cases(*kinds: str) -> list[Case]:
    """All cases of these classes; every one has a name of its own."""
    found = [case for kind in kinds or CLASSES for case in _read(FOLDER / f"{kind}.yaml")]
    twice = [n for n, count in Counter((c.kind, c.name) for c in found).items() if count > 1]
    if twice:
        raise ValueError(f"case names used twice: {twice}")
    return found


# ---- judging -------------------------------------------------------------------------------------------


def judge(case: Case, door: Door, oracle: Oracle) -> list[str]:
    """What is wrong with the answer to the hostile question."""
    reply = _ask(door, case, case.sql, case.keys)
    faults = [f"shows {c}" for c in reply.canaries()]
    faults += _wrong_outcome(case, reply, oracle)
    if case.like:
        faults += _differences(case, reply, _ask(door, case, case.like, case.like_keys))
        faults += _uneven(case, door) if reply.outcome == "OK" else []
    return faults


def judge_control(case: Case, door: Door, oracle: Oracle) -> list[str]:
    """What is wrong with the answer to the legal twin."""
    reply = _ask(door, case, case.control, case.control_keys)
    faults = [f"control shows {c}" for c in reply.canaries()]
    if reply.outcome != "OK":
        return [*faults, f"control refused: {reply.outcome or reply.status} {reply.error.get('message', '')}"]
    wanted = case.rows if case.rows is not None else oracle.rows(case.control)
    if plain(reply.rows) != plain(wanted):
        faults.append(f"control answered {reply.rows}, not {wanted}")
    return faults


def _ask(door: Door, case: Case, sql: str, keys: tuple[Any, ...] | None) -> Reply:
    held = list(dict.fromkeys([*USERS.get(case.who, ()), case.purpose]))
    token = door.token(case.who, case.purpose, purposes=held)
    return door.ask(token, sql, None if keys is None else pa.array(list(keys)))


def _wrong_outcome(case: Case, reply: Reply, oracle: Oracle) -> list[str]:
    if reply.outcome == "OK" and reply.table is not None:
        wanted = list(case.answers)
        if case.masked or "OK" in case.outcomes:
            found = oracle.ask(case.sql)
            if isinstance(found, CityError):
                return [f"answered {reply.rows}, where the masked copy says {found.outcome.name}"]
            wanted.append(found)
        if not wanted:
            return [f"answered {reply.rows}, not {' or '.join(case.outcomes)}"]
        if not any(same(reply.rows, w, case.ordered) for w in wanted):
            return [f"answered {reply.rows}, not {' or '.join(map(str, wanted))}"]
        return []
    if reply.outcome in case.outcomes:
        return []
    if case.masked:
        found = oracle.ask(case.sql)
        if isinstance(found, CityError) and (reply.error.get("error_name"), reply.outcome) == (
            found.trino.name,
            found.outcome.name,
        ):
            return []
    said = f"{reply.outcome or reply.status} {reply.error.get('message', '')}"
    return [f"{said}, not {' or '.join((*case.outcomes, *map(str, case.answers))) or 'the masked answer'}"]


def same(found: Rows, wanted: Rows, ordered: bool = False) -> bool:
    """Equal rows, in any order unless it matters; a decimal equals the number that YAML wrote."""
    return [_plain(r) for r in found] == [_plain(r) for r in wanted] if ordered else plain(found) == plain(wanted)


def plain(rows: Iterable[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    return bag(_plain(r) for r in rows)


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(float(v) if isinstance(v, Decimal) else v for v in row)


def _uneven(case: Case, door: Door) -> list[str]:
    """Whether the quickest answers to the one and to the other come in different steps of the grid.

    Of the quickest, since a busy machine makes any of them late; asked in turn until both had their chance: where the
    work takes about as long as a step, that may take a hundred questions.
    """
    one = other = 60.0
    for _ in range(200):
        one = min(one, _ask(door, case, case.sql, case.keys).seconds)
        other = min(other, _ask(door, case, case.like, case.like_keys).seconds)
        if abs(one - other) < GRID / 2:
            return []
    return [f"quickest {one:.3f} s and {other:.3f} s"]


MOVING = ("date", "content-length")
GRID = 0.05


def _differences(case: Case, one: Reply, other: Reply) -> list[str]:
    """How two refusals differ, apart from the name that each was asked for."""
    faults = []
    first, second = (n.encode() for n in case.names)
    headers = [{k: v for k, v in r.headers.items() if k not in MOVING} for r in (one, other)]
    if one.status != other.status or headers[0] != headers[1]:
        faults.append(f"status or headers differ: {one.status} {headers[0]}, {other.status} {headers[1]}")
    if one.table is not None and other.table is not None:
        if [r[1:] for r in one.rows] != [r[1:] for r in other.rows]:
            faults.append("answers differ")
    elif one.body.replace(first, second) != other.body:
        faults.append(f"bodies differ: {one.body!r}, {other.body!r}")
    return faults


def known_outcome(name: str) -> bool:
    return name in Outcome.__members__
