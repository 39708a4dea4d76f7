"""Released sums that generated rows follow: asked for at the owner's word, kept in the agent's state folder.

Nothing here reads a silo. A fit is a question in aggregate mode that goes the way of any other fragment, under one
grant of the owner's choice, as the user `agent:<department>`: floor, guard, history, budgets and both ledger records.
What comes back is public from then on; `connectors.agent.synthetic` draws rows after it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from catalog.errors import CityError
from catalog.exchange import EndRecord
from catalog.identity import Principal
from catalog.names import MAIN
from catalog.policy import Department, Fit, Grant
from connectors.agent.synthetic import Fitted, fit_key

__all__ = ["Fits", "asker", "granted_alone", "question"]


class Fits:
    """known: relation -> the cells that its rows follow. file: where they are kept, readable by the agent alone.

    Raises ValueError for a file that is not its own.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.known: dict[str, Fitted] = {}
        if file.exists():
            self.known = _read(file)

    def lacking(self, department: Department) -> list[tuple[str, Fit]]:
        """Fits that are declared and not here: never asked for, or declared otherwise since."""
        declared = [(n, s.synthetic.fit) for n, s in department.relations.items() if s.synthetic.fit is not None]
        return [
            (name, fit) for name, fit in declared
            if name not in self.known or self.known[name].key != fit_key(department, name, fit)
        ]  # fmt: skip

    def take(self, department: Department, relation: str, fit: Fit, read: Callable[[str], bytes]) -> int:
        """Ask for one fit and keep it; returns the number of cells. read: a fragment's text -> its answer.

        Raises CityError as the agent would refuse anybody.
        """
        measures = _grant(department, fit).measures
        table = _rows(read(question(department, relation, fit)))
        rows = [[None if v is None else _text(v) for v in row.values()] for row in table.to_pylist()]
        width = len(fit.by)
        self.known[relation] = Fitted(
            fit_key(department, relation, fit), fit.by, measures,
            tuple((*row[:width], *row[width + 1 :]) for row in rows), tuple(int(row[width] or 0) for row in rows),
        )  # fmt: skip
        self._keep()
        return len(rows)

    def _keep(self) -> None:
        draft = self._file.with_suffix(".new")
        kept = {name: vars(fitted) for name, fitted in self.known.items()}
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(kept), encoding="utf-8")
        os.replace(draft, self._file)


def _read(file: Path) -> dict[str, Fitted]:
    """What was kept. Raises ValueError for a file that somebody else wrote."""
    try:
        return {
            relation: Fitted(
                kept["key"], tuple(kept["by"]), tuple(kept["averages"]), tuple(tuple(cell) for cell in kept["cells"]),
                tuple(kept["counts"]),
            )
            for relation, kept in json.loads(file.read_text(encoding="utf-8")).items()
        }  # fmt: skip
    except (KeyError, TypeError, AttributeError) as bad:
        raise ValueError(f"{file.name} cannot be read: remove it, and its sums are asked for anew") from bad


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _grant(department: Department, fit: Fit) -> Grant:
    return next(g for g in department.grants if g.id == fit.grant)


def granted_alone(department: Department, fit: Fit) -> Department:
    """The policy with this one grant for whoever asks, and what stands against it: denials, stricter sums, classes."""
    grant = _grant(department, fit)
    others = (g for g in department.grants if g is not grant and (g.is_denial or g.mode == "aggregate"))
    opened = grant.model_copy(update={"users": (), "groups": ()})
    alone = department.model_copy(update={"grants": (opened, *others)})
    alone.__dict__.pop("rules", None)  # what the other policy had worked out of its grants came along
    return alone


def asker(department: Department, fit: Fit) -> Principal:
    """In whose name a fit is asked for: the ledger and the budgets know it by this."""
    purpose = _grant(department, fit).purposes[0]
    return Principal(f"agent:{department.department}", purpose, (purpose,), "fit", 0)


def question(department: Department, relation: str, fit: Fit) -> str:
    """The fragment of a fit: its cells, how many rows each has, and the averages of the grant's measures."""
    keys = [f"t.{name}" for name in fit.by]
    outputs = [*keys, "count(*)", *(f"avg(t.{name})" for name in _grant(department, fit).measures)]
    listed = ", ".join(f"{output} AS c{i}" for i, output in enumerate(outputs))
    return f"SELECT {listed} FROM {department.department}.{MAIN}.{relation} AS t GROUP BY {', '.join(keys)}"


def _rows(content: bytes) -> pa.Table:
    """The rows of an answer. Raises CityError for one that ended with an error."""
    reader = pa.ipc.open_stream(content)
    batches = []
    for batch, metadata in reader.iter_batches_with_custom_metadata():
        end = EndRecord.from_metadata(metadata)
        if end is None:
            batches.append(batch)
        elif end.error is not None:
            raise CityError.from_dict(end.error)
    return pa.Table.from_batches(batches, reader.schema)
