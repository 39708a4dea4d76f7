"""The null server: sends pages that were made beforehand, and does nothing else. The floor of every client.

    python -m bench.protocol.null FOLDER     one recording a file, a port each; prints {"name": "http://..."}

Pages and segments are those that atoll sent for the same statement, so that a client decodes the same bytes.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
from pathlib import Path

from bench.protocol.wire import BASE, Recording

READY = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n"


class Null:
    """One recording on one port."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.answers: dict[bytes, bytes] = {}

    def prepare(self, url: bytes) -> None:
        """Whole answers, heads included, by the path that asks for them."""
        named = b"X-Trino-Query-Data-Encoding: %b\r\n" % self.recording.encoding.split(",")[0].encode()
        extra = named if self.recording.encoding else b""
        for at, page in enumerate(self.recording.pages):
            body = page.replace(BASE, url)
            path = b"/v1/statement" if at == 0 else page_path(self.recording, at)
            self.answers[path] = READY % (b"application/json", extra, len(body)) + body
        for name, body in self.recording.segments.items():
            self.answers[name.encode()] = READY % (b"application/octet-stream", b"", len(body)) + body
        self.recording = Recording([], {}, "")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nothing = READY % (b"text/plain", b"", 0)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lower = head.lower()
                at = lower.find(b"content-length:")
                if at >= 0:
                    await reader.readexactly(int(lower[at + 15 :].split(b"\r\n", 1)[0]))
                writer.write(self.answers.get(head.split(b" ", 2)[1], nothing))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def page_path(recording: Recording, at: int) -> bytes:
    name: str = json.loads(recording.pages[at])["id"]
    return f"/v1/statement/executing/{name}/slug/{at}".encode()


async def main(folder: Path) -> None:
    addresses = {}
    for file in sorted(folder.glob("*.pickle")):
        null = Null(pickle.loads(file.read_bytes()))
        server = await asyncio.start_server(null.serve, "127.0.0.1", 0, limit=1 << 20)
        addresses[file.stem] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        null.prepare(addresses[file.stem].encode())
    print(json.dumps(addresses), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
