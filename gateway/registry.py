"""Who is registered at this gateway: the departments of gateway.yaml and those that registered since.

A registration is a name, a title, an address, a contact and keys: the receipt key that proves who it is, and the
certificates by which the agent is recognised. Nothing of it changes but by the signature of a receipt key that is
registered already, not even while it waits for approval: what is approved is what was looked at. The address of an
approved department changes not at all.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from cachetools import TTLCache

from catalog import keys, tls
from catalog.errors import MAX_CONTACT, AccessDenied, Outcome, UserError
from catalog.http import Client, HTTPError, Timeout
from catalog.identity import registration_bytes
from catalog.names import is_plain
from catalog.store import DepartmentStore
from gateway.settings import DepartmentEntry, GatewaySettings

__all__ = ["Registry"]

STATES = ("pending", "approved", "suspended")
RESERVED = {"city", "system"}
MAX_KEYS = 32
PROOF_SECONDS = 60
_URL = re.compile(r"https?://[^\s/]+(/[^\s]*)?\Z")


class Registry:
    """Departments by name; settings win over what registered itself. Safe from several threads."""

    def __init__(self, settings: GatewaySettings) -> None:
        settings.state.mkdir(parents=True, exist_ok=True)
        self._settings = settings
        self._store = DepartmentStore(f"sqlite:///{settings.state / 'gateway.db'}")
        self._lock = threading.Lock()
        self._known: dict[str, DepartmentEntry] | None = None
        self._changing = threading.Lock()  # what a change was decided upon holds until it is written
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
        """Entries of gateway.yaml; a state that an operator set later stays, and keys that those of the file signed."""
        return {
            n: d.model_copy(update=_later(stored[n])) if n in stored else d
            for n, d in self._settings.departments.items()
        }

    def titles(self) -> dict[str, str]:
        """name -> title of the approved ones, in name order."""
        return {n: d.title or n for n, d in sorted(self.departments().items()) if d.state == "approved"}

    def contact(self, name: str) -> str:
        """Whom to ask about a department by the name that somebody wrote; the gateway's own for any other name.

        Nothing but the name decides: a refusal says the same whatever else is true of what was asked.
        """
        found = self.departments().get(name)
        own = self._settings.contact or "whoever runs this gateway"
        if found is None or found.state != "approved":
            return own
        return found.contact or f"the owner of {name}"

    def register(self, data: dict[str, Any]) -> dict[str, str]:
        """A department asks to be known: {name, url, title, contact, key, keys, at, proof}.

        It stays `pending` until approved.

        keys, at, proof: its public keys with their terms, and the signature over `registration_bytes`; the
        three may be missing for an agent without TLS that was not known before. Raises UserError for a malformed
        request, and for a known name with anything else than was registered that no registered key signed.
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
        listed = _public_keys(data.get("keys", []))
        if url.startswith("https:") and not any(tls.certificate_of(k) for k in listed):
            raise UserError(
                "An https address is registered with the agent's certificate.",
                rule="registration",
                hint="Use `atoll register`, which sends it.",
            )
        with self._changing:
            return self._put(name, url, key, listed, data)

    def _put(
        self, name: str, url: str, key: dict[str, Any], listed: list[dict[str, Any]], data: dict[str, Any]
    ) -> dict[str, str]:
        """Keep a well-formed registration. Raises UserError."""
        known = self.departments().get(name)
        contact = str(data.get("contact", ""))[:MAX_CONTACT]
        title, address = str(data.get("title", "")), url.rstrip("/")
        if not (contact.isprintable() and title.isprintable()):
            raise UserError("A department's title and contact are a line of text each.", rule="registration")
        changed = known is not None and (
            not keys.same_key(known.key, key)
            or (title, address, contact, tuple(listed)) != (known.title, known.url, known.contact, known.keys)
        )
        renewed = known.renewed if known is not None else 0
        if changed or (known is None and listed):
            signed = registration_bytes(name, url, key, listed, _at(data), contact, title)
            renewed = self._proven(known, signed, key, data)
        if known is not None and known.state != "pending" and known.url != address:
            # A public key proves nothing: whoever could move the address could read every user's questions.
            raise UserError(
                f"Department '{name}' is registered at another address.",
                rule="registration",
                hint="Ask the operator to suspend and remove the old registration first.",
            )
        state = known.state if known is not None else "pending"
        self._store.put(name, address, title, key, state, listed, renewed, contact)
        self._forget()
        return {"name": name, "state": state}

    def _proven(self, known: DepartmentEntry | None, signed: bytes, key: dict[str, Any], data: dict[str, Any]) -> int:
        """When the registration was signed, by a key that counts already. Raises UserError.

        An earlier signature proves nothing: it would bring back keys that were taken away since.
        """
        at, proof, now = _at(data), str(data.get("proof", "")), time.time()
        signers = (key,) if known is None else known.receipt_keys
        fresh = abs(at - now) <= PROOF_SECONDS and (known is None or at > known.renewed)
        if fresh and keys.verify_any(signers, signed, proof, now):
            return at
        if known is None:
            raise UserError("The registration is not signed by its own key, now.", rule="registration")
        raise UserError(
            f"Department '{data['name']}' is registered with another key, address, title or contact.",
            rule="registration",
            hint="A change is signed by a key that is registered, while it counts. Else ask the operator to "
            "remove the old registration first.",
        )

    def set_state(self, name: str, state: str) -> dict[str, str]:
        """Approve or suspend: {name, state, title, url, key} of what has that state now, key by its thumbprint.

        Raises UserError for an unknown name or state.
        """
        if state not in STATES:
            raise UserError(f"'{state}' is no state; known: {', '.join(STATES)}.", rule="registration")
        with self._changing:
            known = self.departments().get(name)
            if known is None:
                raise UserError(f"Department '{name}' is not registered.", rule="registration")
            self._store.put(name, known.url, known.title, known.key, state, known.keys, known.renewed, known.contact)
            self._forget()
        return {
            "name": name, "state": state, "title": known.title, "url": known.url, "key": keys.thumbprint(known.key),
        }  # fmt: skip

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


def _later(stored: DepartmentEntry) -> dict[str, Any]:
    """What a stored entry changes in one of gateway.yaml."""
    signed = {n: getattr(stored, n) for n in ("key", "keys", "renewed", "contact")} if stored.renewed else {}
    return {"state": stored.state, **signed}


def _at(data: dict[str, Any]) -> int:
    """When a registration says it was signed; 0, which is no time to sign, for anything but a number."""
    found = data.get("at", 0)
    return found if isinstance(found, int) else 0


def _public_keys(listed: Any) -> list[dict[str, Any]]:
    """The keys that a registration names: Ed25519, or EC with a certificate. Raises UserError."""
    refusal = UserError("A registration lists public keys and certificates (JWK).", rule="registration")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS or not all(isinstance(k, dict) for k in listed):
        raise refusal
    try:
        if any(k != keys.public_jwk(k) or not (tls.certificate_of(k) or keys.thumbprint(k)) for k in listed):
            raise refusal
    except ValueError:
        raise refusal from None
    return listed
