"""The gateway's REST API as the command uses it: a client like any other, with no privilege of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import orjson

from catalog.errors import CityError, DepartmentError, InternalError, Outcome

if TYPE_CHECKING:
    from catalog.http import Response

__all__ = ["Gateway"]

CONNECT_SECONDS = 5.0


class Gateway:
    """One gateway and one login. token: the user's own; user: a bare name, which only demos accept.

    Every method raises CityError: the gateway's own, or DOWN if it does not answer.
    """

    def __init__(self, url: str, user: str = "", token: str = "") -> None:
        from catalog.http import Client, Timeout

        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {"X-Trino-User": user} if user else {}
        # A proxy between this machine and itself would only see the user's token.
        plain = urlsplit(self.url).scheme == "http"
        # An answer takes as long as it takes: the limits are the departments' and the gateway's.
        self._http = Client(
            base_url=self.url,
            headers=headers,
            trust_env=not plain,
            timeout=Timeout(None, connect=CONNECT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(self, body: dict[str, Any], proof: dict[str, str] | None = None) -> str:
        """POST /api/query with `async`: the query's id, at once. proof: the header of a signed question."""
        return str(self._call("POST", "/api/query", {**body, "async": True}, proof)["query_id"])

    def result(self, query_id: str) -> dict[str, Any]:
        """The whole answer of a query that was submitted as json; waits for it."""
        return dict(self._call("GET", f"{_query(query_id)}/result"))

    @contextmanager
    def stream(self, query_id: str) -> Iterator[Iterator[bytes]]:
        """The body of a query that was submitted as arrow or csv, in parts."""
        with self._reachable(), self._http.stream("GET", f"{_query(query_id)}/result") as answer:
            if answer.status_code >= 400:
                answer.read()
                raise _error(answer)
            yield answer.iter_bytes()

    def progress(self, query_id: str) -> dict[str, Any]:
        return dict(self._call("GET", f"{_query(query_id)}/progress"))

    def cancel(self, query_id: str) -> None:
        self._call("DELETE", _query(query_id))

    def dry_run(self, body: dict[str, Any], proof: dict[str, str] | None = None) -> dict[str, Any]:
        """Every department's verdict, as an explanation; nothing runs."""
        return dict(self._call("POST", "/api/query", {**body, "dry_run": True}, proof))

    def explain(self, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._call("POST", "/api/explain", body))

    def departments(self, purpose: str) -> list[dict[str, Any]]:
        return list(self._call("GET", f"/api/departments?purpose={quote(purpose, safe='')}"))

    def receipt(self, receipt_id: str) -> dict[str, Any]:
        return dict(self._call("GET", f"/api/receipts/{quote(receipt_id, safe='')}"))

    def request_access(self, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._call("POST", "/api/requests", body))

    def access_requests(self) -> list[dict[str, Any]]:
        """Each department's list and the user's own requests there, or its error."""
        return list(self._call("GET", "/api/requests"))

    def register(self, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._call("POST", "/api/departments", body))

    def change_department(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._call("PATCH", f"/api/departments/{quote(name, safe='')}", body))

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        with self._reachable():
            answer = self._http.request(method, path, json=body, headers=headers)
        if answer.status_code >= 400:
            raise _error(answer)
        try:
            return orjson.loads(answer.content) if answer.content else {}
        except orjson.JSONDecodeError:
            raise self._stranger() from None

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        from catalog.http import HTTPError

        try:
            yield
        except HTTPError:
            raise DepartmentError(
                f"No gateway answers at {self.url}.",
                Outcome.DOWN,
                rule="connection",
                hint="Start one with `atoll demo`, or name its address with --url or ATOLL_URL.",
            ) from None

    def _stranger(self) -> CityError:
        return DepartmentError(
            f"What answers at {self.url} is no atoll gateway.",
            Outcome.DOWN,
            rule="connection",
            hint="Name the gateway's address with --url or ATOLL_URL.",
        )


def _query(query_id: str) -> str:
    return f"/api/query/{quote(query_id, safe='')}"


def _error(answer: Response) -> CityError:
    """The error that an answer carries; one without a readable error is a fault of the gateway."""
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        body = None
    found = body.get("error") if isinstance(body, dict) else None
    if isinstance(found, dict):
        return CityError.from_dict(found)
    return InternalError(
        f"The gateway answered with status {answer.status_code} and no reason.",
        hint="Its log knows more.",
    )
