"""The parts of a URL as java.net.URI tells them apart (RFC 2396), which Trino's `url_extract_*` take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import unquote_plus

__all__ = ["Url", "parsed", "unescaped"]

_ESCAPED = r"%[0-9A-Fa-f]{2}|[^\x00-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""An escape, or what is neither ASCII nor a blank nor a control character."""


def _of(characters: str) -> re.Pattern[str]:
    return re.compile(rf"(?:[A-Za-z0-9_.!~*'(){characters}-]|{_ESCAPED})*")


_ANY, _PATH, _USER = _of(r";/?:@&=+$,\[\]"), _of(":@&=+$,;/"), _of(";:&=+$,")
_SERVER, _REGISTRY = _of(r";:&=+$,@\[\]%"), _of("$,;:@&=+")
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?"
                   r"|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?")  # fmt: skip
_PARTS = re.compile(r"(?://(?P<authority>[^/?]*))?(?P<path>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Url:
    """Parts as they are written; "" for one that is missing."""

    protocol: str = ""
    host: str = ""
    port: str = ""
    path: str = ""
    query: str = ""
    fragment: str = ""


def unescaped(text: str) -> str:
    return unquote_plus(text.replace("+", "%2B"), errors="replace")


def parsed(text: str) -> Url | None:
    """None for a text that is no URL."""
    rest, hashed, fragment = text.partition("#")
    protocol, colon, specific = rest.partition(":")
    if re.search("[/?]", protocol):
        protocol, colon, specific = "", "", rest
    if colon and not _SCHEME.fullmatch(protocol):
        return None
    specific = specific if colon else rest
    protocol = protocol if colon else ""
    if not _ANY.fullmatch(fragment) or (not specific and (colon or not (hashed or not text))):
        return None
    if colon and not specific.startswith("/"):
        return Url(protocol, fragment=fragment) if _ANY.fullmatch(specific) else None
    found = _PARTS.fullmatch(specific)
    if found is None:
        return None
    authority, path, query = found["authority"], found["path"], found["query"] or ""
    if not _PATH.fullmatch(path) or not _ANY.fullmatch(query):
        return None
    if authority is not None and not (authority or path or found["query"] is not None or hashed):
        return None
    server = _server(authority or "")
    return None if server is None else Url(protocol, *server, path, query, fragment)


def _server(authority: str) -> tuple[str, str] | None:
    """Host and port, both "" for an authority that names no server. None for one that is none at all."""
    names = bool(_REGISTRY.fullmatch(authority))
    user, at, rest = authority.rpartition("@")[0], "@" in authority, authority
    if at:
        user, _, rest = authority.partition("@")
    found = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::([0-9]*))?", rest)
    fits = _SERVER.fullmatch(authority) and _USER.fullmatch(user)
    if found and fits and _is_host(found[1]) and int(found[2] or 0) < 2**31:
        return found[1], str(int(found[2])) if found[2] else ""
    return ("", "") if names or not authority else None


def _is_host(text: str) -> bool:
    try:
        if text.startswith("["):
            return bool(IPv6Address(text[1:-1].partition("%")[0]))
        if re.fullmatch("[0-9.]+", text):
            return bool(IPv4Address(re.sub(r"\b0+(?=[0-9])", "", text)))
    except ValueError:
        return bool(_HOST.fullmatch(text)) and not text.startswith("[")
    return bool(_HOST.fullmatch(text))
