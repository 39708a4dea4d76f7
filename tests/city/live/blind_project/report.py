"""A contractor's report: every query of this folder, by the unmodified `trino` client. python report.py HOST PORT USER

It knows nothing of modes. What it prints is one JSON document: the columns, types and rows of each query.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trino.dbapi


def main(host: str, port: str, user: str) -> None:
    found = {}
    with trino.dbapi.connect(host=host, port=int(port), user=user) as connection:
        for file in sorted(Path(__file__).parent.glob("*.sql")):
            cursor = connection.cursor()
            cursor.execute(file.read_text(encoding="utf-8"))
            rows = cursor.fetchall()
            assert cursor.description is not None
            found[file.stem] = {
                "columns": [[column.name, column.type_code] for column in cursor.description],
                "rows": rows,
            }
    litres = {row[0]: row[2] for row in found["1_litres_by_district"]["rows"]}
    found["share"] = {district: round(100 * value / sum(litres.values()), 1) for district, value in litres.items()}
    print(json.dumps(found, default=str))


main(*sys.argv[1:])
