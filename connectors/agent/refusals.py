"""Refusals of strangers: all of them on record, and no stranger makes the ledger grow faster than so much.

Anybody who reaches the port can be refused, as often as they like, before anything is known of them but where they
come from. The first refusals of an interval are records of their own; of the rest the interval leaves one record,
`refusals`, which counts them by peer and by rule. It is written when the interval is over, or the agent stops: what a
crash takes away is the count of one interval, and none of the records that were there before.

Refusals of users are not held back: who has a valid token is known by name.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from catalog.errors import CityError
from catalog.ledger import Ledger

__all__ = ["ALONE", "SECONDS", "Refusals"]

SECONDS = 10.0
"""Length of an interval."""
ALONE = 20
"""Refusals of an interval that have a record each."""
PEERS = 50
"""Peers that are counted by address; the others of an interval together."""


class Refusals:
    """What one agent refused to strangers. Thread-safe. clock: seconds that never run backwards.

    total: how many since the start.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._alone = 0
        self.total = 0
        self._peers: Counter[str] = Counter()
        self._rules: Counter[str] = Counter()
        self._outcomes: set[str] = set()

    def record(self, error: CityError, path: str, peer: str) -> None:
        """Put a refusal on record: alone, or in the count that `flush` writes. Raises LedgerError."""
        with self._lock:
            self._next()
            self.total += 1
            if self._alone < ALONE:
                fields = {"outcome": error.outcome.name, "rule": error.rule, "path": path, "sub": "", "peer": peer}
                self._ledger.append("refusal", fields)
                self._alone += 1
                return
            known = peer in self._peers or len(self._peers) < PEERS
            self._peers[peer if known else "others"] += 1
            self._rules[error.rule] += 1
            self._outcomes.add(error.outcome.name)

    def flush(self) -> None:
        """Write the count of an interval that is over. Raises LedgerError."""
        with self._lock:
            self._next()

    def close(self) -> None:
        """Write what is counted and not written yet. Raises LedgerError."""
        with self._lock:
            self._write()

    def _next(self) -> None:
        if self._clock() - self._began >= SECONDS:
            self._write()
            self._began, self._alone = self._clock(), 0

    def _write(self) -> None:
        if self._peers:
            self._ledger.append("refusals", {
                "outcome": " ".join(sorted(self._outcomes)), "count": self._peers.total(),
                "peers": dict(self._peers), "rules": dict(self._rules),
            })  # fmt: skip
            for counted in (self._peers, self._rules, self._outcomes):
                counted.clear()
