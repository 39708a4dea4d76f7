"""A hostile gateway: a thousand requests, made by hand and generated from a seed, sent to one agent.

    programme(door, seed, count)   what will be sent, in order: every `Shot` says what may come back
    fire(door, shot)               sends one; the reply, None if the agent closed the connection

A captured gateway holds its own key and the live tokens of its users, nothing else. So the worst that a shot may
bring is what lin may see anyway: `wanted` is then the SQL whose answer over the masked copy must come back.
"""

from __future__ import annotations

import base64
import random
import socket
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import orjson
import pyarrow as pa

from catalog.exchange import encode_keys
from catalog.http import HTTPError
from catalog.keys import SigningKey
from tests.attack.door import FRAGMENT, Door, Reply

__all__ = ["KINDS_OF_SHOT", "Shot", "fire", "programme", "raw_exchange"]

QUESTIONS = (
    "SELECT t.id AS c0, t.name AS c1 FROM dept.main.people AS t WHERE t.id < 4",
    "SELECT t.district AS c0, count(*) AS c1 FROM dept.main.people AS t GROUP BY t.district",
    "SELECT t.born AS c0, t.income AS c1 FROM dept.main.people AS t WHERE t.born = DATE '1958-01-01'",
    "SELECT f.title AS c0, f.org AS c1 FROM dept.main.firms AS f",
    "SELECT t.id AS c0, f.title AS c1 FROM dept.main.people AS t JOIN dept.main.firms AS f ON t.org = f.org",
    "SELECT min(t.seen) AS c0, max(t.debt) AS c1, count(t.faith) AS c2 FROM dept.main.people AS t",
)
STRANGER = SigningKey.generate()


@dataclass(frozen=True)
class Shot:
    """One request. body, headers, method, path: as sent. wanted: the SQL that may be answered, "" for none.

    raw: bytes to write to the socket instead of a request. cut: stop reading the answer after so many bytes.
    """

    kind: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    path: str = FRAGMENT
    wanted: str = ""
    raw: bytes = b""
    cut: int = 0


def fire(door: Door, shot: Shot) -> Reply | None:
    """Send one shot. None where there is no HTTP answer to read: the agent hung up, or we did."""
    if shot.raw:
        raw_exchange(door, shot.raw)
        return None
    if shot.cut:
        head = "".join(f"{k}: {v}\r\n" for k, v in shot.headers.items())
        text = f"{shot.method} {shot.path} HTTP/1.1\r\nHost: agent\r\nContent-Length: {len(shot.body)}\r\n{head}\r\n"
        raw_exchange(door, text.encode() + shot.body, shot.cut)
        return None
    try:
        return door.send(shot.body, shot.headers, shot.method, shot.path)
    except HTTPError:
        return None


def raw_exchange(door: Door, data: bytes, read: int = 0) -> bytes:
    """Write bytes to the agent's port and hang up: at once, or after reading at most so many."""
    address = urlsplit(door.department.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as connection:
        try:
            connection.sendall(data)
            if not read:
                connection.shutdown(socket.SHUT_WR)
            return connection.recv(read or 4096)
        except OSError:
            return b""


def programme(door: Door, seed: int, count: int) -> Iterator[Shot]:
    """`count` shots: every kind in turn, each with its own random choices."""
    for number in range(count):
        kind = KINDS_OF_SHOT[number % len(KINDS_OF_SHOT)]
        yield _Gunner(door, random.Random(f"{seed}:{number}")).shot(kind)


class _Gunner:
    """Makes one shot. Each method named after a kind is one kind of hostility."""

    def __init__(self, door: Door, rng: random.Random) -> None:
        self.door, self.rng = door, rng

    def shot(self, kind: str) -> Shot:
        made: Shot = getattr(self, f"_{kind}")(kind)
        return made

    # ---- what honest requests are made of

    def token(self, **claims: Any) -> str:
        return self.door.token("lin", "mass-balance", **claims)

    def question(self) -> str:
        return self.rng.choice(QUESTIONS)

    def honest(self, kind: str, sql: str = "", wanted: bool = True, **more: Any) -> Shot:
        sql = sql or self.question()
        body = self.door.body(sql, **more)
        return Shot(kind, body, self.door.signed(self.token(), body), wanted=sql if wanted else "")

    def with_body(self, kind: str, body: bytes, wanted: str = "") -> Shot:
        """Any bytes, properly signed."""
        return Shot(kind, body, self.door.signed(self.token(), body), wanted=wanted)

    def with_token(self, kind: str, token: str) -> Shot:
        body = self.door.body(self.question())
        return Shot(kind, body, self.door.signed(token, body))

    # ---- tokens

    def _forged_token(self, kind: str) -> Shot:
        from catalog.identity import sign_token

        claims = self.door.claims(self.rng.choice(["lin", "zhao", "root"]), self.rng.choice(["audit", "mass-balance"]))
        return self.with_token(kind, sign_token(self.rng.choice([STRANGER, self.door.world.gateway_key]), claims))

    def _expired_token(self, kind: str) -> Shot:
        ago = self.rng.randrange(10, 10**6)
        now = int(time.time())
        return self.with_token(kind, self.token(iat=now - ago - 200, nbf=now - ago - 200, exp=now - ago))

    def _foreign_token(self, kind: str) -> Shot:
        audience = self.rng.choice(["agent:other", "gateway", "agent:", "agent:dept2", "*", "agent:dept "])
        return self.with_token(kind, self.token(aud=audience))

    def _damaged_token(self, kind: str) -> Shot:
        token = self.token()
        place = self.rng.randrange(len(token) - 2)
        other = self.rng.choice([c for c in string.ascii_letters if c != token[place]])
        return self.with_token(kind, token[:place] + other + token[place + 1 :])

    def _wrong_claim(self, kind: str) -> Shot:
        claim = self.rng.choice(["iss", "sub", "aud", "iat", "exp", "jti", "purpose", "purposes", "cnf"])
        wrong: Any = self.rng.choice([None, "", [], {}, True, -1, 1e300, ["lin"], "x" * 500, {"$ne": 1}])
        return self.with_token(kind, self.token(**{claim: wrong}))

    def _invented_user(self, kind: str) -> Shot:
        """A name that only a gateway claims, in headers, query and body; the token stays lin's."""
        body = self.door.body("SELECT t.owner AS c0 FROM dept.main.salary AS t")
        headers = {**self.door.signed(self.token(), body), "X-Trino-User": "zhao", "Atoll-User": "zhao",
                   "X-Forwarded-User": "zhao", "Atoll-Purpose": "audit"}  # fmt: skip
        return Shot(kind, body, headers)

    # ---- signatures

    def _unsigned(self, kind: str) -> Shot:
        shot = self.honest(kind, wanted=False)
        gone = self.rng.choice(["Atoll-Signature", "Atoll-Nonce", "Atoll-Date", "Authorization"])
        return Shot(kind, shot.body, {k: v for k, v in shot.headers.items() if k != gone})

    def _signed_by_another(self, kind: str) -> Shot:
        body = self.door.body(self.question())
        return Shot(kind, body, self.door.signed(self.token(), body, key=STRANGER))

    def _skewed(self, kind: str) -> Shot:
        body = self.door.body(self.question())
        skew = self.rng.choice([-1, 1]) * self.rng.randrange(90, 10**7)
        return Shot(kind, body, self.door.signed(self.token(), body, now=time.time() + skew))

    def _swapped_body(self, kind: str) -> Shot:
        shot = self.honest(kind, wanted=False)
        return Shot(kind, self.door.body(self.question()), shot.headers)

    def _swapped_path(self, kind: str) -> Shot:
        path = self.rng.choice(["/v1/relations", "/v1/ledger/head", "/v1/fragment?x=1", "/v1/fragment/a1"])
        shot = self.honest(kind, wanted=False)
        return Shot(kind, shot.body, shot.headers, "GET" if "rel" in path or "head" in path else "DELETE", path)

    def _replayed(self, kind: str) -> Shot:
        """An honest request that was answered before; it is sent for the second time here."""
        shot = self.honest(kind, wanted=False)
        self.door.send(shot.body, shot.headers)
        return shot

    # ---- messages

    def _native_sql(self, kind: str) -> Shot:
        field_ = self.rng.choice(["native", "source_sql", "raw", "filter", "masks", "unmask", "trusted", "as_user"])
        value: Any = self.rng.choice(["SELECT ssn FROM people", True, {"people": []}, "1=1", "zhao", None])
        return self.with_body(kind, self.door.body(self.question(), **{field_: value}))

    def _native_text(self, kind: str) -> Shot:
        text = self.rng.choice([
            "SELECT ssn FROM people", "SELECT * FROM sqlite_master", "SELECT ssn AS c0 FROM people",
            "PRAGMA table_info(people)", "SELECT name AS c0 FROM main.people", "SELECT hidden AS c0 FROM people",
            "SELECT t.rowid AS c0 FROM people AS t", "SELECT load_extension('x') AS c0", "VACUUM", "ATTACH 'x' AS y",
            'SELECT "ssn" AS c0 FROM "people"', "SELECT quote(ssn) AS c0 FROM people",
            "SELECT group_concat(ssn) AS c0 FROM people",
            "SELECT t.id AS c0 FROM people AS t WHERE t.id GLOB '*'", "EXPLAIN QUERY PLAN SELECT * FROM people",
        ])  # fmt: skip
        shot = self.honest(kind, text, wanted=False)
        own = text == "SELECT name AS c0 FROM main.people"
        return replace(shot, wanted="SELECT t.name AS c0 FROM dept.main.people AS t") if own else shot

    def _huge(self, kind: str) -> Shot:
        size = self.rng.choice([300_000, 1_000_000, 4_100_000])
        return self.with_body(kind, self.door.body("SELECT '" + "x" * size + "' AS c0"))

    def _huge_witness(self, kind: str) -> Shot:
        """A head as long as its sender likes would go into the owner's ledger: the message has limits."""
        head = {"seq": 2**62, "hash": "f" * self.rng.choice([65, 1000, 100_000]), "signature": "x" * 100}
        return self.honest(kind, witness=head)

    def _altered_head(self, kind: str) -> Shot:
        """A ledger head that this gateway never had: the agent records it as what was said, and answers."""
        head = {"seq": self.rng.randrange(2**40), "hash": f"{self.rng.getrandbits(256):064x}", "signature": "AAAA"}
        return self.honest(kind, witness=head)

    def _stale_policy(self, kind: str) -> Shot:
        """A policy version or a grant named in the message: there is no such field."""
        field_ = self.rng.choice(["policy", "policy_version", "grants", "mode", "purpose", "sub", "version_of"])
        return self.with_body(kind, self.door.body(self.question(), **{field_: "0" * 64}))

    def _other_version(self, kind: str) -> Shot:
        sql = self.question()
        return self.with_body(kind, self.door.body(sql, version=self.rng.choice([0, 2, -1, "1.0", None])), sql)

    def _mutated_field(self, kind: str) -> Shot:
        """One field of a valid fragment gone, or of another type."""
        message: dict[str, Any] = orjson.loads(self.door.body(self.question()))
        name = self.rng.choice(list(message))
        if self.rng.random() < 0.4:
            del message[name]
        else:
            message[name] = self.rng.choice(
                [None, 1, 1.5, True, [], {}, ["x"], "", "\u0000", "é" * 10, -1, "../x", "a b"]
            )
        return self.with_body(kind, orjson.dumps(message))

    def _odd_number(self, kind: str) -> Shot:
        sql = self.question()
        return self.with_body(kind, self.door.body(sql, timeout=self.rng.choice([0, -1, 10**9, 1.5, "60", None])), sql)

    def _extra_field(self, kind: str) -> Shot:
        name = "".join(self.rng.choices(string.ascii_lowercase, k=8))
        return self.with_body(kind, self.door.body(self.question(), **{name: self.rng.random()}))

    def _truncated_json(self, kind: str) -> Shot:
        body = self.door.body(self.question())
        return self.with_body(kind, body[: self.rng.randrange(len(body))])

    def _no_json(self, kind: str) -> Shot:
        return self.with_body(kind, self.rng.choice([
            b"", b"null", b"[]", b"1", b'"x"', b"{}", b"\xff\xfe", b"\x00" * 50, b"{" * 2000, b"[" * 5000,
            b"sql=SELECT+1",
            b"<xml/>", orjson.dumps([{"sql": "SELECT 1"}]), b'{"sql": "SELECT 1", "sql": "SELECT 2"}',
        ]))  # fmt: skip

    def _random_bytes(self, kind: str) -> Shot:
        return self.with_body(kind, self.rng.randbytes(self.rng.randrange(1, 500)))

    def _wrong_content_type(self, kind: str) -> Shot:
        """The type is not what decides: the signed bytes are."""
        shot = self.honest(kind)
        odd = self.rng.choice(
            ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data"]
        )
        return Shot(kind, shot.body, {**shot.headers, "Content-Type": odd}, wanted=shot.wanted)

    def _unicode_tricks(self, kind: str) -> Shot:
        sql = self.question()
        odd = self.rng.choice([*"\u00a0\u200b\u202e\ufeff\u3000\u0007\u0000\u2028\ud7ff", "e\u0301"])
        place = self.rng.randrange(len(sql))
        return self.honest(kind, sql[:place] + odd + sql[place:])

    def _mutated_sql(self, kind: str) -> Shot:
        """A valid text with characters gone, doubled or moved: refused, or what it then means over the copy."""
        sql = list(self.question())
        for _ in range(self.rng.randrange(1, 4)):
            place = self.rng.randrange(len(sql))
            how = self.rng.randrange(3)
            if how == 0:
                del sql[place]
            elif how == 1:
                sql.insert(place, self.rng.choice("()'\",;-*/.@$?:[]{}<>=%0a"))
            else:
                other = self.rng.randrange(len(sql))
                sql[place], sql[other] = sql[other], sql[place]
        return self.honest(kind, "".join(sql))

    def _bad_keys(self, kind: str) -> Shot:
        sql = 'SELECT t.id AS c0 FROM dept.main.people AS t WHERE t.district IN (SELECT k FROM "$keys")'
        two = pa.BufferOutputStream()
        with pa.ipc.new_stream(two, pa.schema([("k", pa.string()), ("l", pa.string())])) as writer:
            writer.write_batch(pa.record_batch([pa.array(["a"]), pa.array(["b"])], names=["k", "l"]))
        good = encode_keys(pa.array(["north"]))
        keys = self.rng.choice([
            "", "%%%", "AAAA", good[:-8], good[:40], base64.b64encode(two.getvalue().to_pybytes()).decode(),
            encode_keys(pa.array(["a", None])), encode_keys(pa.array([{"a": 1}])), encode_keys(pa.array([[1]])),
            encode_keys(pa.array([f"k{i}" for i in range(10_001)])), base64.b64encode(b"ARROW1" + b"\0" * 64).decode(),
        ])  # fmt: skip
        message = orjson.loads(self.door.body(sql))
        if self.rng.random() < 0.5:
            return self.with_body(kind, orjson.dumps({**message, "keys": keys} if keys else message))
        sets = self.rng.choice([[good, keys], [keys, good], [good, good, keys], [good], [good] * 5, [], "", good, [1]])
        version = self.rng.choice([1, 2, 2, 2, 3, "2", None])
        both = {"keys": good} if self.rng.random() < 0.2 else {}
        # Even with honest sets: the text names no second one, or the message says in two ways what it brings.
        return self.with_body(kind, orjson.dumps({**message, **both, "version": version, "key_sets": sets}))

    # ---- connections

    def _cut_answer(self, kind: str) -> Shot:
        """An honest request whose reader hangs up in the middle of the answer."""
        shot = self.honest(kind)
        return Shot(kind, shot.body, shot.headers, cut=self.rng.choice([1, 60, 300, 900]))

    def _no_http(self, kind: str) -> Shot:
        data = self.rng.choice([
            b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9.9\r\n\r\n",
            b"POST /v1/fragment\r\n\r\n",
            b"POST /v1/fragment HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"POST /v1/fragment HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        ])  # fmt: skip
        return Shot(kind, raw=data)

    def _half_a_request(self, kind: str) -> Shot:
        shot = self.honest(kind)
        head = "".join(f"{k}: {v}\r\n" for k, v in shot.headers.items())
        text = f"POST {FRAGMENT} HTTP/1.1\r\nHost: agent\r\nContent-Length: {len(shot.body) + 100}\r\n{head}\r\n"
        return Shot(kind, raw=text.encode() + shot.body)

    def _other_door(self, kind: str) -> Shot:
        """Paths and methods that an agent has not: nothing is behind them."""
        method, path = self.rng.choice([
            ("GET", "/owner/ledger"), ("POST", "/owner/pause"), ("GET", "/v1/fragment"), ("PUT", "/v1/fragment"),
            ("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/v1/fragment/../relations"),
            ("GET", "/v1//relations"), ("POST", "/v1/relations"), ("GET", "/state/ledger.jsonl"),
            ("GET", "/%2e%2e/silo"),
        ])  # fmt: skip
        return Shot(kind, b"", self.door.signed(self.token(), b"", method, path), method, path)

    def _foreign_cancel(self, kind: str) -> Shot:
        path = f"{FRAGMENT}/a{self.rng.randrange(10**6)}"
        return Shot(kind, b"", self.door.signed(self.token(), b"", "DELETE", path), "DELETE", path)


KINDS_OF_SHOT = tuple(n.removeprefix("_") for n in vars(_Gunner) if n.startswith("_") and not n.startswith("__"))
"""Every kind of hostility, by the name of the method that makes it."""
