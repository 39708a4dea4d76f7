"""Who is registered at this gateway: the departments of gateway.yaml and those that registered since."""

from __future__ import annotations

import re
import threading
from typing import Any

from cachetools import TTLCache

from catalog import keys
from catalog.errors import AccessDenied, Outcome, UserError
from catalog.http import Client, HTTPError, Timeout
from catalog.names import is_plain
from catalog.store import DepartmentStore
from gateway.settings import DepartmentEntry, GatewaySettings

__all__ = ["Registry"]

STATES = ("pending", "approved", "suspended")
RESERVED = {"city", "system"}
_URL = re.compile(r"https?://[^\s/]+(/[^\s]*)?\Z")


class Registry:
    """Departments by name; settings win over what registered itself. Safe from several threads."""

    def __init__(self, settings: GatewaySettings) -> None:
        settings.state.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self._store = DepartmentStore(f"sqlite:///{settings.state / 'gateway.db'}")
        self._lock = threading.Lock()
        self._known: dict[str, DepartmentEntry] | None = None
        self._dev: TTLCache[str, str] = TTLCache(1000, 1800)
        self._http = Client(timeout=Timeout(5), trust_env=False)

    def departments(self) -> dict[str, DepartmentEntry]:
        """All registered departments with their states."""
        with self._lock:
            if self._known is None:
                stored = {n: DepartmentEntry(**d) for n, d in self._store.all().items()}
                self._known = {**stored, **self._overridden(stored)}
            return dict(self._known)

    def _overridden(self, stored: dict[str, DepartmentEntry]) -> dict[str, DepartmentEntry]:
        """Entries of gateway.yaml; a state that an operator set later stays."""
        return {
            n: d.model_copy(update={"state": stored[n].state}) if n in stored else d
            for n, d in self._settings.departments.items()
        }

    def titles(self) -> dict[str, str]:
        """name -> title of the approved ones, in name order."""
        return {n: d.title or n for n, d in sorted(self.departments().items()) if d.state == "approved"}

    def register(self, data: dict[str, Any]) -> dict[str, str]:
        """A department asks to be known: {name, url, title, key}. It stays `pending` until approved.

        Raises UserError for a malformed request, and for a known name with another key.
        """
        name, url = str(data.get("name", "")), str(data.get("url", ""))
        key = data.get("key")
        if not is_plain(name) or name in RESERVED:
            raise UserError(f"'{name}' cannot be a department's name.", rule="registration")
        if not _URL.match(url):
            raise UserError("A department registers with the http(s) address of its agent.", rule="registration")
        try:
            keys.thumbprint(key if isinstance(key, dict) else {})
        except (ValueError, KeyError, TypeError):
            raise UserError("A department registers with its public receipt key (JWK).", rule="registration") from None
        assert isinstance(key, dict)
        known = self.departments().get(name)
        if known is not None and keys.thumbprint(known.key) != keys.thumbprint(key):
            raise UserError(
                f"Department '{name}' is registered with another key.",
                rule="registration",
                hint="Ask the operator to remove the old registration first.",
            )
        if known is not None and known.state != "pending" and known.url != url.rstrip("/"):
            # A public key proves nothing: whoever could move the address could read every user's questions.
            raise UserError(
                f"Department '{name}' is registered at another address.",
                rule="registration",
                hint="Ask the operator to suspend and remove the old registration first.",
            )
        state = known.state if known is not None else "pending"
        self._store.put(name, url.rstrip("/"), str(data.get("title", "")), key, state)
        self._forget()
        return {"name": name, "state": state}

    def set_state(self, name: str, state: str) -> None:
        """Approve or suspend. Raises UserError for an unknown name or state."""
        if state not in STATES:
            raise UserError(f"'{state}' is no state; known: {', '.join(STATES)}.", rule="registration")
        known = self.departments().get(name)
        if known is None:
            raise UserError(f"Department '{name}' is not registered.", rule="registration")
        self._store.put(name, known.url, known.title, known.key, state)
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            self._known = None

    def dev_token(self, user: str) -> str | None:
        """A user's token through the demo's door without passwords; None where there is no such door."""
        door = self._settings.identity.dev_login
        if not door:
            return None
        with self._lock:
            known = self._dev.get(user)
        if known is not None:
            return known
        refusal = AccessDenied(f"There is no user '{user}'.", Outcome.AUTH, rule="login")
        try:
            answer = self._http.post(door, json={"user": user})
        except HTTPError:
            raise AccessDenied("The identity provider does not answer.", Outcome.AUTH, rule="login") from None
        if answer.status_code != 200:
            raise refusal
        token = str(answer.json()["access_token"])
        with self._lock:
            self._dev[user] = token
        return token
