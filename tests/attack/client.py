"""The same cases through a gateway, by an unmodified Trino client that logs in with the user's own token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trino

from tests.attack.canary import found_in
from tests.attack.cases import Case, same
from tests.attack.world import USERS, World
from tests.masks_first.oracle import Oracle

__all__ = ["Analyst", "judge", "judge_control"]


class Analyst:
    """A user at the gateway. ask: rows, or the error's name and everything that it said."""

    def __init__(self, world: World, user: str, purpose: str) -> None:
        token = world.provider.login(user, world.password(user)).token
        self._connection = trino.dbapi.connect(
            host="127.0.0.1",
            port=int(world.gateway_url.rsplit(":", 1)[1]),
            user=user,
            auth=trino.auth.JWTAuthentication(token),
            http_scheme="http",
            allow_insecure_auth=True,
            session_properties={"purpose": purpose},
        )

    def ask(self, sql: str) -> tuple[list[tuple[Any, ...]] | None, str, bytes]:
        """(rows, error name, everything that came back as text)."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql)
            rows = [tuple(r) for r in cursor.fetchall()]
        except (trino.exceptions.TrinoQueryError, trino.exceptions.HttpError, trino.exceptions.TrinoDataError) as bad:
            return None, getattr(bad, "error_name", "") or type(bad).__name__, repr((bad, bad.args)).encode()
        said = [*(d[0] for d in cursor.description or ()), *map(str, rows), *map(str, _values(rows))]
        return rows, "", "\n".join(said).encode()

    def close(self) -> None:
        self._connection.close()


def _values(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [v for row in rows for v in row]


def judge(case: Case, analyst: Analyst, oracle: Oracle) -> list[str]:
    """What is wrong: a canary, an answer other than the masked copy's, or a refusal of what should be answered."""
    rows, error, said = analyst.ask(case.sql)
    faults = [f"shows {c}" for c in found_in(said)]
    if rows is None:
        if case.gateway == "answered" or case.masked:
            faults.append(f"refused with {error}")
        return faults
    if case.gateway == "answered":
        return faults
    wanted = list(case.answers)
    found = oracle.ask(case.sql) if not wanted else None
    if isinstance(found, list):
        wanted.append(found)
    if not any(same(rows, w, case.ordered) for w in wanted):
        faults.append(f"answered {rows}, not {wanted or case.outcomes}")
    return faults


def judge_control(case: Case, analyst: Analyst, oracle: Oracle) -> list[str]:
    rows, error, said = analyst.ask(case.control)
    faults = [f"control shows {c}" for c in found_in(said)]
    if rows is None:
        return [*faults, f"control refused with {error}: {said.decode(errors='replace')[:300]}"]
    wanted = case.rows if case.rows is not None else oracle.rows(case.control)
    return faults if same(rows, wanted) else [*faults, f"control answered {rows}, not {wanted}"]


def may_log_in(case: Case) -> bool:
    """Whether the case's user exists and holds its purpose: others get no further than the identity provider."""
    return case.purpose in USERS.get(case.who, ())
