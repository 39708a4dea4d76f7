"""The seven verdicts of the city: what must be answered, what must be refused, in the same words for all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest

from tests.city.live.captured import CapturedGateway
from tests.city.live.running import City

Step = dict[str, Any]


def verdict(city: City, number: int) -> list[Step]:
    found = city.answer_key("verdicts")["verdicts"]
    steps: list[Step] = found[number - 1]["steps"]
    return steps


@contextmanager
def without(city: City, departments: list[str]) -> Iterator[None]:
    """Freeze agents: to the gateway they are gone, and they come back as they were."""
    for name in departments:
        os.kill(city.pid(name), signal.SIGSTOP)
    try:
        yield
    finally:
        for name in departments:
            os.kill(city.pid(name), signal.SIGCONT)


def at_gateway(city: City, step: Step) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """(answer, error) of a step at the gateway."""
    sql = step.get("sql") or city.question(int(step["question"].removeprefix("q")))
    session = {k: str(v).lower() for k, v in step.get("session", {}).items()}
    with without(city, step.get("down", [])):
        response = city.post(sql, step["user"], step["purpose"] or "", session=session)
    found = response.json()
    return (found, None) if response.status_code == 200 else (None, found["error"])


def check_rows(step: Step, answer: dict[str, Any]) -> None:
    expect = step["expect"]
    assert [c["name"] for c in answer["columns"]] == expect["columns"]
    assert sorted(answer["rows"], key=repr) == sorted(expect["rows"], key=repr)
    if "warning" in expect:
        # Outcome SUPPRESSED is told in words: cells are absent.
        word = "absent" if expect["warning"] == "SUPPRESSED" else expect["warning"]
        assert any(word in w for w in answer["warnings"]), answer["warnings"]
    if "suppressed" in expect:
        assert not {row[0] for row in answer["rows"]} & set(expect["suppressed"])
        assert answer["warnings"]


def check(step: Step, answer: dict[str, Any] | None, error: dict[str, Any] | None) -> None:
    expect = step["expect"]
    if expect["outcome"] == "rows":
        assert answer is not None, error
        check_rows(step, answer)
    elif expect["outcome"] == "refused":
        assert error is not None, answer
        assert error["outcome"] == expect["code"]
    else:
        assert expect["outcome"] == "error"
        assert error is not None, answer
        assert expect["names"] in error["message"]


@pytest.mark.parametrize("number", [1, 3, 4, 7])
def test_at_the_gateway(city: City, number: int) -> None:
    for step in verdict(city, number):
        check(step, *at_gateway(city, step))


def test_what_is_not_granted_looks_as_if_it_did_not_exist(city: City) -> None:
    hidden = city.refused("SELECT * FROM health.main.admission", "sun")
    absent = city.refused("SELECT * FROM health.main.admissioo", "sun")
    hidden["message"] = hidden["message"].replace("admission", "X")
    absent["message"] = absent["message"].replace("admissioo", "X")
    assert hidden == absent


def test_legal_persons_are_pseudonyms(city: City) -> None:
    first, second = verdict(city, 2)
    mine, _ = at_gateway(city, first)
    other, _ = at_gateway(city, second)
    assert mine is not None
    assert other is not None
    token = dict(mine["rows"])
    expect = first["expect"]
    assert all(len(v) == 32 and not set(v) - set("0123456789abcdef") for v in token.values())
    assert len(set(token.values())) == expect["distinct"]
    for same in expect["equal"]:
        assert len({token[code] for code in same}) == 1
    assert len(other["rows"]) == len(mine["rows"])
    assert not {row[1] for row in other["rows"]} & set(token.values())


def test_owners_and_patients_never_meet(city: City) -> None:
    captured = CapturedGateway(city)
    for step in verdict(city, 5):
        keys = pa.array(step["keys"]["values"]) if "keys" in step else None
        sql = step["sql"]
        if keys is not None:
            sql = sql.replace(" GROUP BY", f' WHERE {step["keys"]["column"]} IN (SELECT k FROM "$keys") GROUP BY')
        sql = sql.replace("SELECT person", "SELECT person AS c0").replace("SELECT district,", "SELECT district AS c0,")
        sql = sql.replace("AS admissions", "AS c1")
        reply = captured.ask(step["at"], sql, step["user"], step["purpose"], keys)
        assert reply.error is not None, sql
        assert reply.error["outcome"] == step["expect"]["code"]
        assert reply.rows == []


def test_a_clerk_may_check_two_hundred_subjects_a_day(city: City) -> None:
    (step,) = verdict(city, 6)
    expect = step["expect"]
    answers = []
    for start in range(0, len(step["subjects"]), 100):
        values = ", ".join(f"'{s}'" for s in step["subjects"][start : start + 100])
        sql = f"SELECT id, verify('{step['relation']}', id) AS v FROM UNNEST(ARRAY[{values}]) AS p (id)"
        response = city.post(sql, step["user"], step["purpose"])
        if response.status_code != 200:
            assert response.json()["error"]["outcome"] == expect["then"]
            break
        found = dict(response.json()["rows"])
        answers += [found[s] for s in step["subjects"][start : start + 100]]
    assert answers == expect["answers"]
