"""Cases about sums and checks, where it matters what was asked before: `cases/answers.yaml` says how they are written.

play(case, door, days, truth)    what is wrong with how the case was answered, and its legal twin
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from tests.attack.canary import disguises, memory_of, texts_of
from tests.attack.cases import known_outcome, plain, same
from tests.attack.door import Door, Reply
from tests.attack.sums import GUARDED, PRIVATE, Days, Truth, apart, names_in
from tests.attack.world import USERS

__all__ = ["CLASSES", "AnswerCase", "Step", "answer_cases", "judge", "judge_control", "marks", "play"]

FILE = Path(__file__).parent / "cases" / "answers.yaml"
Rows = list[tuple[Any, ...]]
BEYOND = ("floored", "safe", "first")
"""What `expect` may say beside outcomes and rows."""
_NEEDLES = [needle for private in PRIVATE for needle in disguises(private).values()]


@dataclass(frozen=True)
class Step:
    """One question, asked `times` times. expect: its outcome."""

    who: str
    purpose: str
    sql: str
    keys: tuple[str, ...] | None = None
    times: int = 1
    expect: str = "OK"


@dataclass(frozen=True)
class AnswerCase:
    """Questions of one day. number: of its relations. rows: of the control, where all visits do not say them."""

    name: str
    kind: str
    number: int
    before: tuple[Step, ...]
    last: Step
    expect: tuple[str, ...]
    answers: tuple[Rows, ...]
    control_before: tuple[Step, ...]
    control: Step
    rows: Rows | None = None

    def under(self, department: str) -> AnswerCase:
        """The same case about another catalog."""

        def moved(step: Step) -> Step:
            return replace(step, sql=step.sql.replace("dept.", f"{department}."))

        return replace(
            self, before=tuple(map(moved, self.before)), last=moved(self.last), control=moved(self.control),
            control_before=tuple(map(moved, self.control_before)),
        )  # fmt: skip


FIELDS = {"name", "who", "purpose", "sql", "keys", "expect", "before", "last_who", "control", "control_before",
          "control_keys", "control_who", "control_purpose", "rows"}  # fmt: skip


def answer_cases() -> list[AnswerCase]:
    """All cases, each with relations of its own. Raises ValueError for a field that nobody knows."""
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    usual = {k: data[k] for k in ("who", "purpose")}
    entries = [(kind, {**usual, **entry}) for kind, listed in data["classes"].items() for entry in listed]
    return [_case(kind, number, entry) for number, (kind, entry) in enumerate(entries)]


CLASSES = ("shapes", "floors", "dominance", "complements", "trackers", "averaging", "claims", "budgets", "collusion")


def _case(kind: str, number: int, entry: Mapping[str, Any]) -> AnswerCase:
    if unknown := set(entry) - FIELDS:
        raise ValueError(f"case {entry.get('name')!r}: unknown fields {sorted(unknown)}")
    who, purpose, expect = entry["who"], entry["purpose"], entry["expect"]
    said = [expect] if isinstance(expect, str) else [e for e in expect if isinstance(e, str)]
    wrong = [e for e in said if e not in BEYOND and not known_outcome(e)]
    if wrong:
        raise ValueError(f"case {entry['name']!r} expects {wrong}")
    listed = [] if isinstance(expect, str) else [tuple(e) for e in expect if not isinstance(e, str)]
    rows = entry.get("rows")
    return AnswerCase(
        entry["name"], kind, number, _steps(entry.get("before", ()), who, purpose),
        Step(entry.get("last_who", who), purpose, entry["sql"], _keys(entry.get("keys"))),
        tuple(said), (listed,) if listed else (), _steps(entry.get("control_before", ()), who, purpose),
        Step(entry.get("control_who", who), entry.get("control_purpose", purpose), entry["control"],
             _keys(entry.get("control_keys"))),
        None if rows is None else [tuple(r) for r in rows],
    )  # fmt: skip


def _steps(listed: Iterable[Any], who: str, purpose: str) -> tuple[Step, ...]:
    found = []
    for one in listed:
        if isinstance(one, str):
            found.append(Step(who, purpose, one))
        elif isinstance(one, list):
            found.append(Step(one[0], purpose, one[1]))
        else:
            given = {**one, "keys": _keys(one.get("keys"))}
            found.append(Step(**{"who": who, "purpose": purpose, **given}))
    return tuple(found)


def _keys(listed: Any) -> tuple[str, ...] | None:
    """[x, 101] are a hundred and one keys, x0 and so on."""
    if listed and isinstance(listed[-1], int):
        return tuple(f"{listed[0]}{i}" for i in range(listed[1]))
    return None if listed is None else tuple(listed)


def marks(found: Iterable[AnswerCase]) -> dict[str, set[str]]:
    """The relations that the cases and their twins need, by the mark in their names."""
    needed: dict[str, set[str]] = {}
    for case in found:
        for mark, steps in ((f"{case.number}", (*case.before, case.last)),
                            (f"{case.number}c", (*case.control_before, case.control))):  # fmt: skip
            needed[mark] = {name for step in steps for name in names_in(step.sql)}
    return needed


# ---- playing -------------------------------------------------------------------------------------------


@dataclass
class _Game:
    """One day's questions: what was answered, and what is wrong so far."""

    door: Door
    truth: Truth
    mark: str
    faults: list[str] = field(default_factory=list)
    vectors: list[list[int]] = field(default_factory=list)
    first: Rows | None = None

    def ask(self, step: Step) -> Reply:
        held = list(dict.fromkeys([*USERS[step.who], step.purpose]))
        token = self.door.token(step.who, step.purpose, purposes=held)
        keys = None if step.keys is None else pa.array(list(step.keys), pa.string())
        reply = self.door.ask(token, apart(step.sql, self.mark), keys)
        blobs = [reply.body]
        if reply.table is not None:
            blobs += [texts_of(reply.table), memory_of(reply.table)]
            if step.keys is None:
                self._note(step, reply.rows)
        claimed = [k.encode() for k in step.keys or ()]
        self.faults += [f"shows {n!r}" for n in _NEEDLES if n not in claimed for blob in blobs if n in blob]
        return reply

    def _note(self, step: Step, rows: Rows) -> None:
        """Keep what was answered, where it is held against the rest."""
        self.first = rows if self.first is None else self.first
        if names_in(step.sql) <= set(GUARDED) and "SELECT" in step.sql and self._is_plain(step.sql):
            self.vectors += self.truth.vectors(step.sql, rows)

    @staticmethod
    def _is_plain(sql: str) -> bool:
        return sql.count("SELECT") == 1 and len(names_in(sql)) == 1 and " JOIN " not in sql

    def steps(self, listed: Iterable[Step]) -> None:
        for step in listed:
            for _ in range(step.times):
                reply = self.ask(step)
                if reply.outcome != step.expect:
                    self.faults.append(f"before: {step.sql} was {_said(reply)}, not {step.expect}")

    def alone(self) -> None:
        """No combination of what was answered tells of a few."""
        if (few := self.truth.isolated(self.vectors)) is not None:
            self.faults.append(f"together the answers tell of {sorted(few)} alone")


def judge(case: AnswerCase, door: Door, days: Days, truth: Truth) -> list[str]:
    """What is wrong with the answers to the hostile questions."""
    days.next()
    game = _Game(door, truth, f"{case.number}")
    game.steps(case.before)
    first = game.first
    reply = game.ask(case.last)
    if reply.outcome != "OK":
        if reply.outcome not in case.expect and not ("safe" in case.expect and reply.outcome == "DISCLOSURE"):
            game.faults.append(f"{_said(reply)}, not {_wanted(case)}")
    elif not _is_right(case, reply.rows, first, truth):
        game.faults.append(f"answered {reply.rows}, not {_wanted(case)}")
    game.alone()
    return game.faults


def _is_right(case: AnswerCase, rows: Rows, first: Rows | None, truth: Truth) -> bool:
    if "floored" in case.expect:
        return same(rows, truth.rows(case.last.sql, floored=True))
    if "first" in case.expect:
        return first is not None and {v for r in rows for v in r} == {v for r in first for v in r}
    if "safe" in case.expect:  # that they are safe together is seen below; each must be true
        return not plain(rows) - plain(truth.rows(case.last.sql, floored=True))
    return any(same(rows, wanted) for wanted in case.answers)


def _wanted(case: AnswerCase) -> str:
    return " or ".join([*case.expect, *map(str, case.answers)])


def judge_control(case: AnswerCase, door: Door, days: Days, truth: Truth) -> list[str]:
    """What is wrong with the answer to the legal twin."""
    days.next()
    game = _Game(door, truth, f"{case.number}c")
    game.steps(case.control_before)
    reply = game.ask(case.control)
    if reply.outcome != "OK":
        return [*game.faults, f"control: {_said(reply)}"]
    wanted = truth.rows(case.control.sql) if case.rows is None else case.rows
    if not same(reply.rows, wanted):
        game.faults.append(f"control answered {reply.rows}, not {wanted}")
    game.alone()
    return game.faults


def play(case: AnswerCase, door: Door, days: Days, truth: Truth) -> list[str]:
    """What is wrong with a case and its twin."""
    return judge(case, door, days, truth) + judge_control(case, door, days, truth)


def _said(reply: Reply) -> str:
    return f"{reply.outcome or reply.status} {reply.error.get('message', '')}"
