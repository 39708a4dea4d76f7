"""The one place that imports the HTTP client library, so that a change of library is a change here."""

from __future__ import annotations

from httpx import (
    ASGITransport,
    AsyncClient,
    AsyncHTTPTransport,
    Client,
    ConnectError,
    HTTPError,
    HTTPStatusError,
    Limits,
    MockTransport,
    Request,
    Response,
    StreamError,
    Timeout,
    TimeoutException,
)

__all__ = [
    "ASGITransport",
    "AsyncClient",
    "AsyncHTTPTransport",
    "Client",
    "ConnectError",
    "HTTPError",
    "HTTPStatusError",
    "Limits",
    "MockTransport",
    "Request",
    "Response",
    "StreamError",
    "Timeout",
    "TimeoutException",
]
