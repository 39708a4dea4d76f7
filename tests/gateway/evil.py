"""A department's agent that misbehaves on purpose: it cuts, stalls, lies, forges."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

import orjson
import pyarrow as pa

from catalog.exchange import EndRecord, Head, Receipt, sha256
from catalog.keys import SigningKey

SCHEMA = pa.schema([("c0", pa.int64())])


class Evil:
    """Answers every fragment as `behave(agent, question, send)` says; `send(bytes)` writes to the socket."""

    def __init__(
        self,
        behave: Callable[[Evil, dict[str, Any], Callable[[bytes], None]], None],
        status: int = 200,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.key: SigningKey = SigningKey.generate()
        self.behave = behave
        self.status = status
        self.headers = headers
        self.asked: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.release = threading.Event()
        self.told = threading.Event()

    def end(self, question: dict[str, Any], rows: int, **changes: Any) -> EndRecord:
        """A correct, signed end record of an answer with `rows` rows; `changes` make it wrong before signing."""
        receipt = Receipt(
            id="r1",
            department="evil",
            query_id=question["query_id"],
            fragment_id=question["fragment_id"],
            sub="ana",
            purpose="test",
            sql_sha256=sha256(question["sql"]),
            rows=rows,
            ledger=Head(seq=1, hash=""),
        )
        end = EndRecord(outcome="OK", rows=rows, receipt=receipt).model_copy(update=changes)
        return end.model_copy(update={"signature": self.key.sign(end.signed_bytes())})


def stream(rows: list[int], end: EndRecord | None, batch: int = 2) -> list[bytes]:
    """An answer in pieces: schema and batches, then the end record with the end of the stream."""
    sink = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(sink, SCHEMA)
    for i in range(0, len(rows), batch):
        writer.write_batch(pa.record_batch([pa.array(rows[i : i + batch], pa.int64())], schema=SCHEMA))
    body = sink.tell()
    if end is not None:
        empty = pa.record_batch([pa.array([], pa.int64())], schema=SCHEMA)
        writer.write_batch(empty, custom_metadata=end.to_metadata())
    writer.close()
    whole = sink.getvalue().to_pybytes()
    return [whole[:body], whole[body:]]


@contextmanager
def serving(evil: Evil) -> Iterator[str]:
    """Run the agent; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            question = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            evil.asked.append(question)
            self.send_response(evil.status)
            for name, value in evil.headers.items():
                self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()

            def send(piece: bytes) -> None:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()

            try:
                evil.behave(evil, question, send)
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                self.close_connection = True

        def do_DELETE(self) -> None:
            evil.stopped.append(self.path.rsplit("/", 1)[1])
            evil.told.set()
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent: the tests read what was asked from `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        evil.release.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
