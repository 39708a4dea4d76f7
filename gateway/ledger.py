"""The gateway's own book: who asked what through it, which departments it asked, and what they certified.

A `begin` before a statement's first fragment leaves (another one if it is tried again without a department), one
`end` when it is over, one `refusal` for a statement that asked nobody. `begin` names the fragments by department
and hash; `end` keeps the head that each answer's receipt gave of its department's ledger. Each fragment carries
this ledger's newest head the other way. A record that cannot be written ends the statement: what is not in the
book is not answered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catalog.errors import CityError, InternalError, Outcome
from catalog.exchange import Head, Receipt, sha256
from catalog.keys import KeyRing
from catalog.ledger import Ledger, LedgerError
from gateway.execution import Execution, Session
from gateway.plan import FragmentPlan

__all__ = ["GatewayLedger"]

log = logging.getLogger("atoll.gateway")


class GatewayLedger:
    """The ledger in one gateway's state folder. Safe from several threads. Raises LedgerError if it is taken."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        state.chmod(0o700)  # somebody else may have made it: who asked what is nobody else's business
        self._ledger = Ledger(state / "ledger.jsonl", KeyRing.create(state / "ledger.key"))
        self._ledger.append("start", {})

    @property
    def head(self) -> Head:
        """The newest entry, signed: what every fragment carries. Raises InternalError."""
        with _written():
            return self._ledger.head

    def records(self) -> Iterator[dict[str, Any]]:
        """All records, oldest first."""
        return self._ledger.records()

    def begin(
        self,
        execution: Execution,
        session: Session,
        fragments: Sequence[FragmentPlan],
        reads: Sequence[str] = (),
        kept: str = "",
    ) -> None:
        """Record that a statement is about to ask departments, or to read this ledger itself. Raises InternalError.

        kept: the statement whose answer is given again in place of asking.
        """
        asked = [{"department": f.department, "fragment": f.id, "sql_sha256": sha256(_text(f))} for f in fragments]
        given = {"kept": kept} if kept else {}
        self._append(
            "begin", {**_who(execution), "purpose": session.purpose, "asks": asked, "reads": [*reads], **given}
        )
        execution.recorded = True

    def end(self, execution: Execution, error: CityError | None) -> None:
        """Record how a statement ended; a statement that asked nobody is recorded only if it was refused.

        Raises InternalError.
        """
        outcome = error.outcome.name if error else Outcome.OK.name
        if not execution.recorded:
            if error is not None:
                self._append("refusal", {**_who(execution), "outcome": outcome, "rule": error.rule})
            return
        departments = execution.departments()
        self._append("end", {
            **_who(execution), "outcome": outcome, "rows": execution.rows,
            "departments": {d.name: d.state for d in departments},
            "receipts": [_kept(r) for r in execution.receipts()],
        })  # fmt: skip

    def request(self, session: Session, relation: str, outcome: str, id_: str) -> None:
        """Record that a user asked a department for access. id_: the department's, "" if it took none."""
        fields = {"sub": session.user, "purpose": session.purpose, "relation": relation, "outcome": outcome, "id": id_}
        self._append("request", {**fields, "departments": [relation.partition(".")[0]]})

    def _append(self, kind: str, fields: dict[str, Any]) -> None:
        with _written():
            self._ledger.append(kind, fields)

    def close(self) -> None:
        """End the ledger with a `stop`; what cannot be written is in the operator's log."""
        try:
            self._ledger.append("stop", {})
        except LedgerError as bad:
            log.error("ledger failed: %s", bad)
        self._ledger.close()


@contextmanager
def _written() -> Iterator[None]:
    """Without its ledger a gateway asks nobody: the reason is its operator's to read."""
    try:
        yield
    except LedgerError as bad:
        log.error("ledger failed: %s", bad)
        raise InternalError("The gateway cannot write its ledger; nothing is asked meanwhile.") from bad


def _text(fragment: FragmentPlan) -> str:
    """What its department is asked, perhaps with some of its keys in place of none."""
    return fragment.keys.sql if fragment.keys is not None and fragment.is_exact else fragment.sql


def _who(execution: Execution) -> dict[str, Any]:
    return {"query": execution.query_id, "sub": execution.session.user, "sql_sha256": sha256(execution.sql)}


def _kept(receipt: Receipt) -> dict[str, Any]:
    """What is kept of a receipt: enough to show that its department's ledger was cut or rewritten."""
    return {
        "id": receipt.id, "department": receipt.department, "fragment": receipt.fragment_id, "rows": receipt.rows,
        "delivered": receipt.delivered, "ledger": dict(receipt.ledger),
    }  # fmt: skip
