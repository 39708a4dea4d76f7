"""Applications for access, on their way: from the applicant to the department whose table it is, and its word back.

The gateway decides nothing and keeps nothing but a record that somebody asked: the application lies with the
department's agent, which got it with the applicant's own token.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from catalog.access import AccessAnswer, AccessRequest, Application
from catalog.errors import CityError, Outcome, UserError
from catalog.names import MAIN, RelationName
from gateway.dispatch import Agents, lied
from gateway.execution import Session
from gateway.ledger import GatewayLedger

__all__ = ["Applications"]

PATH = "/v1/requests"


class Applications:
    """The gateway's part in access requests. departments: name -> title of those that may be asked."""

    def __init__(self, agents: Agents, ledger: GatewayLedger, departments: Callable[[], dict[str, str]]) -> None:
        self._agents = agents
        self._ledger = ledger
        self._departments = departments
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="access")

    def file(self, session: Session, name: RelationName, asked: AccessRequest) -> Application:
        """Hand an application to its department, and put on record what came of it. Raises CityError."""
        outcome, found = Outcome.OK.name, None
        try:
            found = self._file(session, name, asked)
            return found
        except CityError as refusal:
            outcome = refusal.outcome.name
            raise
        finally:
            self._ledger.request(session, str(name), outcome, found.id if found is not None else "")

    def _file(self, session: Session, name: RelationName, asked: AccessRequest) -> Application:
        # One refusal, whether a name is free, the city's own, or waits for the operator's word.
        if name.catalog not in self._departments() or name.schema != MAIN:
            raise UserError(
                f"'{name}' is no department's table.",
                Outcome.NOT_AVAILABLE,
                rule="requests",
                hint="Ask for a table as health.main.stay; `atoll request --list` shows what departments list.",
                about=name.catalog,
            )
        body = self._agents.call(session, name.catalog, "POST", PATH, asked.model_dump_json().encode(), good=201)
        try:
            found = Application.model_validate_json(body)
        except ValidationError as bad:
            raise lied(name.catalog, "what it says of the request is malformed") from bad
        if (found.relation, found.purpose) != (asked.relation, session.purpose):
            raise lied(name.catalog, "it answers another request than was sent")
        return found

    def all(self, session: Session) -> list[AccessAnswer | CityError]:
        """What every department lists, and how the user's own applications stand; one error for each that is silent."""
        return list(self._pool.map(lambda name: self._of(session, name), self._departments()))

    def _of(self, session: Session, department: str) -> AccessAnswer | CityError:
        try:
            found = AccessAnswer.model_validate_json(self._agents.call(session, department, "GET", PATH))
        except ValidationError:
            return lied(department, "its list of requests is malformed")
        except CityError as error:
            return error
        return found if found.department == department else lied(department, "it calls itself otherwise")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
