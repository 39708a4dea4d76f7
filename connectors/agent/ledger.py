"""The department's own book: the chained ledger of `catalog.ledger`, under the name by which the agent knows it.

Kinds: start, stop, policy, policy_refused, pause, resume, refusal, begin, end, untoken.
"""

from catalog.ledger import (
    GENESIS,
    Ledger,
    LedgerError,
    LedgerReport,
    head_bytes,
    read_ledger,
    record_hash,
    verify_ledger,
)

__all__ = [
    "GENESIS",
    "Ledger",
    "LedgerError",
    "LedgerReport",
    "head_bytes",
    "read_ledger",
    "record_hash",
    "verify_ledger",
]
