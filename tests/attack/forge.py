"""Builds the forged requests that `cases/identity.yaml` describes."""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any

import orjson
from joserfc import jwk, jwt

from catalog.identity import TOKEN_TYPE, sign_token
from catalog.keys import SigningKey
from tests.attack.door import FRAGMENT, Door, Reply

__all__ = ["SQL", "send"]

SQL = "SELECT t.id AS c0 FROM dept.main.people AS t WHERE t.id < 3"
ROWS = [(1,), (2,)]
_STRANGER = SigningKey.generate()
_TIMES = ("iat", "nbf", "exp")


def send(door: Door, spec: dict[str, Any]) -> list[Reply]:
    """Send the forged request; all replies, the judged one last."""
    token = _token(door, spec.get("token", {}))
    request = spec.get("request", {})
    scheme = spec.get("token", {}).get("scheme", "Bearer")
    body = door.body(SQL)
    replies = []
    headers = _headers(door, token, scheme, body, request)
    method, path = request.get("method", "POST"), request.get("path", FRAGMENT)
    before = [(name, _another(door, name)) for name in request.get("doubled", ())]
    replies.append(door.send(body, headers, method, path, before))
    if request.get("stolen"):
        return [*replies, door.send(door.body(SQL.replace("< 3", "< 9")), headers)]
    if request.get("twice"):
        if request.get("another"):
            other = door.body(SQL + " AND t.id > 0")
            signed = door.signed(token, other, nonce=headers["Atoll-Nonce"])
            return [*replies, door.send(other, signed)]
        replies.append(door.send(body, headers))
    return replies


def _another(door: Door, name: str) -> str:
    """A header's value as another honest request would have it."""
    body = door.body(SQL)
    return door.signed(door.token("mei", "mass-balance"), body)[name]


def _headers(door: Door, token: str, scheme: str, body: bytes, request: dict[str, Any]) -> dict[str, str]:
    signed = request.get("signed", {})
    keys = {"stranger": _STRANGER, "idp": door.world.idp, "": None}
    covered = door.token("mei", "mass-balance") if signed.get("token") else token
    nonce = _value(request["nonce"]) if "nonce" in request else None
    headers = door.signed(
        covered, str(signed["body"]).encode() if "body" in signed else body, signed.get("method", "POST"),
        signed.get("path", request.get("path", FRAGMENT)), keys[request.get("key", "")],
        time.time() + request.get("now", 0), nonce,
    )  # fmt: skip
    headers["Authorization"] = f"{scheme} {token}".strip()
    for name, value in request.get("header", {}).items():
        if value is None:
            headers.pop(name)
        else:
            headers[name] = _value(value)
    return headers


def _value(value: Any) -> Any:
    """Long and fresh values, which YAML writes as {repeat: [piece, times]}, {random: length}, {text: ..}."""
    if isinstance(value, dict) and set(value) == {"repeat"}:
        piece, times = value["repeat"]
        return piece * times
    if isinstance(value, dict) and set(value) == {"random"}:
        return secrets.token_hex(64)[: value["random"]]
    if isinstance(value, dict) and set(value) == {"text"}:
        return value["text"]
    return value


def _token(door: Door, spec: dict[str, Any]) -> str:
    honest = door.token("lin", "mass-balance")
    if "text" in spec:
        text = _value(spec["text"])
        return f"{honest} {honest}" if text == "two" else str(text)
    if spec.get("kind") == "user":
        own = door.claims("lin", "mass-balance", aud="gateway", purpose=None, cnf=None)
        return sign_token(door.world.idp, {**own, "exp": int(time.time()) + 3600})
    if "cut" in spec:
        return honest[: -spec["cut"]]
    if "swap" in spec:
        head, payload, signature = honest.split(".")
        changed = {**orjson.loads(_decode(payload)), **_claims(door, spec["swap"])}
        return f"{head}.{_encode(orjson.dumps(changed))}.{signature}"
    claims = door.claims("lin", "mass-balance", **_claims(door, spec.get("claims", {})))
    return _signed(door, claims, spec)


def _claims(door: Door, spec: dict[str, Any]) -> dict[str, Any]:
    found = {k: _value(v) for k, v in spec.items()}
    now = int(time.time())
    for name in _TIMES:
        if isinstance(found.get(name), int):
            found[name] += now
    if found.get("iss") == "slash":
        found["iss"] = door.world.issuer + "/"
    return found


def _signed(door: Door, claims: dict[str, Any], spec: dict[str, Any]) -> str:
    keys = {"idp": door.world.idp, "gateway": door.world.gateway_key, "stranger": _STRANGER}
    idp = door.world.idp
    header = {"typ": TOKEN_TYPE, "kid": idp.kid, **spec.get("header", {})}
    if spec.get("key") == "es256":
        own = jwk.ECKey.generate_key("P-256")
        return str(jwt.encode({"typ": TOKEN_TYPE, "kid": idp.kid, "alg": "ES256"}, claims, own, algorithms=["ES256"]))
    algorithm = str(header.get("alg", "EdDSA"))
    if algorithm.lower() == "none":
        return f"{_encode(orjson.dumps(header))}.{_encode(orjson.dumps(claims))}."
    if algorithm.startswith("HS"):
        secret = jwk.OctKey.import_key(_decode(str(idp.public_jwk["x"])))
        return str(jwt.encode(header, claims, secret, algorithms=[algorithm]))
    key = keys[spec.get("key", "idp")]
    if not spec.get("header") and not spec.get("borrowed"):
        return sign_token(key, claims)
    if header.get("jwk") == "own":
        header["jwk"] = key.public_jwk
    head = f"{_encode(orjson.dumps({'alg': 'EdDSA', **header}))}.{_encode(orjson.dumps(claims))}"
    raw = base64.b64decode(key.sign(head.encode()))
    return f"{head}.{_encode(raw)}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
