"""Clients that nobody here wrote, unmodified, get the flagship answer."""

from __future__ import annotations

import csv
import io
import subprocess
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import sqlalchemy
import trino

from tests.city.live.running import City


def texts(rows: list[Any]) -> list[list[str]]:
    return [[str(v) for v in row] for row in rows]


def test_the_trino_python_client(city: City) -> None:
    key = city.answer_key("q1")
    connection = trino.dbapi.connect(host="127.0.0.1", port=city.port, user="lin")
    cursor = connection.cursor()
    cursor.execute(city.question(1))
    assert [list(row) for row in cursor.fetchall()] == key["rows"]
    assert [d[0] for d in cursor.description] == [c["name"] for c in key["columns"]]


def test_pandas_through_sqlalchemy(city: City) -> None:
    key = city.answer_key("q2")
    engine = sqlalchemy.create_engine(f"trino://lin@127.0.0.1:{city.port}/city")
    with engine.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = pandas.read_sql(sqlalchemy.text(city.question(2).replace(":", r"\:")), connection, coerce_float=False)
    assert texts(frame.values.tolist()) == texts([[*r[:4], Decimal(r[4])] for r in key["rows"]])
    engine.dispose()


def test_the_trino_command_line(city: City, cli: Path) -> None:
    key = city.answer_key("q1")
    done = subprocess.run(
        [
            "java",
            "-Xmx256m",
            "-jar",
            str(cli),
            "--server",
            city.url,
            "--user",
            "lin",
            "--output-format",
            "CSV",
            "--execute",
            city.question(1),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(csv.reader(io.StringIO(done.stdout))) == texts(key["rows"])
