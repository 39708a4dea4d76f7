"""The null server of `make bench-protocol` is what it says: the same pages again; and a goal is judged by its kind."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import trino

from bench.protocol.__main__ import Goal, Measured, measure
from bench.protocol.peers import running_null
from bench.protocol.wire import headers, record
from tests.clients.every_type import SQL
from tests.protocol.conftest import Served

ENCODINGS = ["", "json", "json+zstd", "json+lz4"]


def answer(port: int, sql: str, encoding: str) -> tuple[list[Any], list[Any]]:
    with trino.dbapi.connect(host="127.0.0.1", port=port, user="lin", encoding=encoding or None) as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall(), [d[:2] for d in cursor.description]


@pytest.mark.parametrize(
    "sql", [SQL, "SELECT id, text FROM water.main.big WHERE id < 9000 ORDER BY id"], ids=["types", "long"]
)
def test_a_client_reads_the_same_answer_from_the_null_server(every_type: Served, tmp_path: Path, sql: str) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    for at, encoding in enumerate(ENCODINGS):
        kept = record(every_type.url, sql, {**headers(encoding), "X-Trino-User": "lin"})
        (recordings / f"{at}.pickle").write_bytes(pickle.dumps(kept))
    with running_null(tmp_path, recordings) as null:
        for at, encoding in enumerate(ENCODINGS):
            port = int(null[str(at)].rsplit(":", 1)[1])
            for _ in range(2):
                assert answer(port, "SELECT anything", encoding) == answer(every_type.port, sql, encoding)


def test_medians_of_rounds_are_compared_and_the_first_round_is_not_counted() -> None:
    fast, slow = iter([1000.0, 5.0, 6.0, 7.0]), iter([1.0, 1.0, 2.0, 300.0])
    floor = Goal("rate", "rows/s", lambda: next(fast), lambda: next(slow), "peer", 3.0, True)
    (found,) = measure([floor], 3)
    assert (found.atoll, found.other, found.ratio, found.reached) == (6.0, 2.0, 3.0, True)
    ceiling = Goal("time", "s", lambda: 1.0, lambda: 2.0, "peer", 0.4, False)
    assert not Measured(ceiling, 1.0, 2.0).reached
    assert Measured(ceiling, 0.8, 2.0).reached
