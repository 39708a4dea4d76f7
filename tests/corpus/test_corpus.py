"""Every statement of the corpus answers as a real Trino 476 answered: names, types, values, error names."""

from __future__ import annotations

import re

import pytest

from catalog.duck.functions import REFUSED
from catalog.duck.listing import LISTED, OPERATORS, coverage
from tests.corpus.counted import WAYS, ways
from tests.corpus.fixtures import TOPICS, TRINO_FUNCTIONS, Answer, Statement, answers, statements
from tests.corpus.replay import replay
from tests.corpus.tables import CORPUS

MOST_REFUSED = 0.03
LEAST_ANSWERED = 0.95
FORMS = {
    "array", "cast", "coalesce", "exists", "extract", "format", "grouping", "if", "nullif", "position", "row", "try",
    "try_cast", "unnest", "version",
}  # fmt: skip
"""What Trino's grammar knows and its SHOW FUNCTIONS does not list."""


@pytest.mark.parametrize("topic", TOPICS)
def test_answers_are_trinos(topic: str) -> None:
    recorded = answers(topic)
    wrong = [told for s in statements(topic) if (told := difference(s, recorded[s.sql], replay(CORPUS, s.sql, s.zone)))]
    assert not wrong, f"{len(wrong)} of {len(recorded)} statements differ:\n\n" + "\n\n".join(wrong)


def difference(statement: Statement, recorded: Answer, found: Answer) -> str:
    """What differs, in words; "" if nothing does."""
    if statement.refused:
        if "error" in found:
            return ""
        return f"{statement.sql}\n  is on the list of refusals, and was answered: {found}"
    told = {k: v for k, v in found.items() if k != "message"}
    if "rows" in recorded and not is_ordered(statement.sql):
        recorded, told = _sorted(recorded), _sorted(told)
    if statement.differs:
        return "" if told != recorded else f"{statement.sql}\n  is a known fault ({statement.differs}), and is none"
    return (
        "" if told == recorded else f"{statement.sql}\n  Trino: {recorded}\n  atoll: {told} {found.get('message', '')}"
    )


def is_ordered(sql: str) -> bool:
    """Whether the statement itself orders its rows: ORDER BY outside every parenthesis."""
    outside = sql
    while (shorter := re.sub(r"\([^()]*\)", "", outside)) != outside:
        outside = shorter
    return "ORDER BY" in outside.upper()


def _sorted(answer: Answer) -> Answer:
    return {**answer, "rows": sorted(answer["rows"], key=repr)} if "rows" in answer else answer


def test_few_statements_are_refused_or_differ() -> None:
    every = [s for topic in TOPICS for s in statements(topic)]
    refused = [s for s in every if s.refused or s.differs]
    assert len(every) >= 600
    assert len(refused) <= MOST_REFUSED * len(every)


def test_every_function_and_operator_of_the_list_has_an_ordinary_a_null_and_an_edge_fixture() -> None:
    found = ways(LISTED, OPERATORS)
    missing = {name: [way for way in WAYS if way not in has] for name, has in found.items() if len(has) < len(WAYS)}
    assert not missing


def test_the_list_holds_nearly_all_of_trinos_functions_and_none_that_trino_has_not() -> None:
    names = TRINO_FUNCTIONS.read_text().split()
    assert coverage(names).share >= LEAST_ANSWERED
    assert LISTED.keys() - {name.lower() for name in names} == FORMS
    assert not LISTED.keys() & REFUSED.keys()


def test_a_function_that_is_not_answered_is_refused_by_name_with_its_reason() -> None:
    for name, why in REFUSED.items():
        # Of some the parser itself counts the arguments.
        told = [replay(CORPUS, f"SELECT {name}({given})") for given in ("1", "1, 2")]
        wanted = {"error": "FUNCTION_NOT_FOUND", "message": f"Function {name} is not available: {why}."}
        assert wanted in told
