"""Taps on the trust line: every byte between a gateway and the agents passes here and is kept.

A `Tap` relays and remembers both directions; `Exchange` is one HTTP request with its answer, decoded. It holds
the keys of both sides, so that it can stand in the middle of their mutual TLS: nobody without them could. It
reaches the agent before it greets the gateway, so that a frozen or killed agent looks as it does without a tap.
"""

from __future__ import annotations

import io
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pyarrow as pa

from catalog import tls
from catalog.exchange import EndRecord
from catalog.keys import KeyRing


@dataclass
class Connection:
    """What one TCP connection carried."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


@dataclass
class Tap:
    """A relay in front of one agent. url: where the gateway connects. keys: as the agent, and as the gateway."""

    department: str
    target: tuple[str, int]
    listener: socket.socket
    keys: tuple[ssl.SSLContext, ssl.SSLContext]
    connections: list[Connection] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client:
            try:
                plain = socket.create_connection(self.target, timeout=5)
                agent = self.keys[1].wrap_socket(plain)
                greeted = self.keys[0].wrap_socket(client, server_side=True)
            except OSError:
                return
            with agent, greeted:
                agent.settimeout(None)
                found = Connection()
                self.connections.append(found)
                try:
                    _pump(greeted, agent, found)
                except OSError:
                    return


def _pump(client: ssl.SSLSocket, agent: ssl.SSLSocket, found: Connection) -> None:
    while True:
        # What TLS has decrypted already does not make its socket ready.
        waiting = [s for s in (client, agent) if s.pending()]
        for source in waiting or select.select([client, agent], [], [])[0]:
            data = source.recv(1 << 16)
            if not data:
                return
            if source is client:
                found.sent += data
                agent.sendall(data)
            else:
                found.received += data
                client.sendall(data)


def _keys(city: Path, department: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The agent's side and the gateway's side of their TLS, with the keys of a city in `city`."""
    agent = KeyRing(city / "departments" / department / "state" / "tls.key")
    gateway = KeyRing(city / "gateway" / "state" / "tls.key")
    gateways, agents = (tls.pinned(ring.public(), time.time()) for ring in (gateway, agent))
    return tls.ServerTls(agent, lambda: gateways).context(), tls.client_context(gateway, agents)


@contextmanager
def tapped(agents: dict[str, str], city: Path) -> Iterator[dict[str, Tap]]:
    """Taps in front of agents, by department; agents: department -> address. city: its folder."""
    taps = {}
    with ExitStack() as stack:
        for department, url in agents.items():
            host, _, port = url.removeprefix("https://").partition(":")
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            taps[department] = Tap(department, (host, int(port)), listener, _keys(city, department))
            threading.Thread(target=taps[department].serve, daemon=True).start()
        yield taps


@dataclass(frozen=True)
class Exchange:
    """One request and its answer. body: without chunk framing. complete: the answer ended properly."""

    department: str
    method: str
    path: str
    request: bytes
    status: int
    body: bytes
    complete: bool

    def answered(self) -> tuple[list[pa.RecordBatch], EndRecord | None]:
        """The batches and the end record of an Arrow answer; what was cut off is left out."""
        batches: list[pa.RecordBatch] = []
        try:
            with pa.ipc.open_stream(io.BytesIO(self.body)) as reader:
                while True:
                    batch, metadata = reader.read_next_batch_with_custom_metadata()
                    end = EndRecord.from_metadata(metadata)
                    if end is not None:
                        return batches, end
                    batches.append(batch)
        except (StopIteration, pa.ArrowInvalid, OSError):
            return batches, None


def exchanges(taps: dict[str, Tap]) -> Iterator[Exchange]:
    """Everything that passed so far."""
    for tap in taps.values():
        for connection in list(tap.connections):
            answers = _messages(bytes(connection.received))
            for first, request, _ in _messages(bytes(connection.sent)):
                status, body, complete = next(answers, ("HTTP/1.1 0 none", b"", False))
                method, path, *_ = first.split(" ")
                yield Exchange(tap.department, method, path, request, int(status.split(" ")[1]), body, complete)


def _messages(data: bytes) -> Iterator[tuple[str, bytes, bool]]:
    """(first line, body, complete) of each HTTP/1.1 message in one direction of a connection."""
    at = 0
    while True:
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            return
        first, *lines = data[at:end].decode("latin-1").split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        at = end + 4
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body, at, complete = _chunks(data, at)
        else:
            length = int(headers.get("content-length", "0"))
            body = data[at : at + length]
            at, complete = at + length, len(body) == length
        yield first, body, complete


def _chunks(data: bytes, at: int) -> tuple[bytes, int, bool]:
    body = bytearray()
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return bytes(body), len(data), False
        size = int(data[at:line].split(b";")[0] or b"0", 16)
        start = line + 2
        body += data[start : start + size]
        at = start + size + 2
        if size == 0:
            return bytes(body), at, True


def texts(exchange: Exchange) -> Iterator[str]:
    """Everything readable that an agent sent: raw bytes, and every value of every decoded column."""
    yield exchange.body.decode("latin-1")
    if exchange.path != "/v1/fragment" or exchange.status != 200:
        return
    batches, end = exchange.answered()
    for batch in batches:
        for column in batch.columns:
            yield "\n".join(str(v) for v in column.to_pylist() if v is not None)
    if end is not None:
        yield orjson.dumps(end.model_dump(mode="json")).decode()
