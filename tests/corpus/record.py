"""Asks a real Trino every statement of the corpus, and the names of its functions, and writes the answers down:
`make corpus-record`.

A recorded answer is kept; `--again` asks anew. TRINO_URL: a server that runs already.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.corpus.fixtures import TOPICS, TRINO_FUNCTIONS, answers, statements, write_answers
from tests.corpus.tables import creation
from tests.corpus.trino import Trino, running_trino


def main() -> None:
    if url := os.environ.get("TRINO_URL"):
        _record(ready(Trino(url)))
        return
    with tempfile.TemporaryDirectory() as folder, running_trino(Path(folder)) as trino:
        _record(ready(trino))


def ready(trino: Trino) -> Trino:
    """A server that has the corpus' tables."""
    if "error" in trino.ask("SELECT count(*) FROM b.main.sale"):
        for sql in creation():
            made = trino.ask(sql)
            if "error" in made:
                raise SystemExit(f"{sql}\n{made}")
    return trino


def _record(trino: Trino) -> None:
    for topic in TOPICS:
        known = {} if "--again" in sys.argv else answers(topic)
        found = {}
        for statement in statements(topic):
            answer = known.get(statement.sql) or trino.ask(statement.sql, statement.zone)
            answer.pop("message", None)
            found[statement.sql] = answer
        write_answers(topic, found)
        print(f"{topic}: {len(found)} statements, {sum('error' in a for a in found.values())} errors", flush=True)
    names = sorted({row[0] for row in trino.ask("SHOW FUNCTIONS")["rows"]})
    TRINO_FUNCTIONS.write_text("\n".join(names) + "\n")


if __name__ == "__main__":
    main()
