"""Every statement of the corpus answers as a real Trino 476 answered: names, types, values, error names."""

from __future__ import annotations

import re

import pytest

from tests.corpus.fixtures import TOPICS, Answer, Statement, answers, statements
from tests.corpus.replay import replay
from tests.corpus.tables import CORPUS

MOST_REFUSED = 0.03


@pytest.mark.parametrize("topic", TOPICS)
def test_answers_are_trinos(topic: str) -> None:
    recorded = answers(topic)
    wrong = [told for s in statements(topic) if (told := difference(s, recorded[s.sql], replay(CORPUS, s.sql)))]
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
