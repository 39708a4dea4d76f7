"""`atoll query` and `atoll explain`: one statement over the whole city."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer
from rich.console import Console
from rich.live import Live

from atoll import render
from atoll.commands import common
from atoll.commands.client import Gateway
from atoll.commands.common import (
    DEFAULT_URL,
    JsonOption,
    KeyOption,
    PurposeOption,
    TokenOption,
    UrlOption,
    UserOption,
)
from atoll.render import Answer
from catalog.errors import CityError, InternalError

__all__ = ["explain", "query"]

QUIET_SECONDS = 0.5
REFRESH_SECONDS = 0.2


class Format(StrEnum):
    """How the answer is written."""

    table = "table"
    md = "md"
    csv = "csv"
    json = "json"
    arrow = "arrow"
    parquet = "parquet"


FileOption = Annotated[Path | None, typer.Option("--file", "-f", help="Read the statement from a file.")]


def query(
    sql: Annotated[str | None, typer.Argument(help="A Trino SELECT; - reads it from stdin.")] = None,
    file: FileOption = None,
    url: UrlOption = DEFAULT_URL,
    user: UserOption = "",
    token: TokenOption = "",
    purpose: PurposeOption = "",
    format: Annotated[Format, typer.Option("--format", help="How to write the answer.")] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it to this file.")] = None,
    catalog: Annotated[str, typer.Option(help="Catalog for names without one.")] = "",
    schema: Annotated[str, typer.Option(help="Schema for names without one.")] = "",
    session: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, may be repeated.")] = None,
    max_rows: Annotated[int, typer.Option(min=0, help="Rows that a table shows; 0 shows all.")] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask each department for its verdict only.")] = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the whole city one question in SQL.

    Examples:

      atoll query --user lin "SELECT district_code, count(*) AS n FROM city.org.company GROUP BY 1"

      atoll query --user bi --purpose statistics --format csv --output air.csv --file q3.sql

      atoll query --user chen --dry-run "SELECT * FROM health.main.stay"

    Under the table one grey line says which departments answered, how long it took, what was masked
    and which receipt proves it. A refusal says who refused, by which rule and what to do next (exit 1).

    With ATOLL_KEY (see atoll token) the question is signed: departments that answer only what you asked
    yourself will answer then.
    """
    common.require_login(user, token)
    text = common.read_sql(sql, file)
    form = Format.json if as_json else format
    if form in (Format.arrow, Format.parquet) and output is None and sys.stdout.isatty():
        raise typer.BadParameter(f"{form.value} is no text for a terminal: give --output FILE")
    body: dict[str, Any] = {"sql": text, "session": _properties(session or [])}
    body |= {k: v for k, v in {"purpose": purpose, "catalog": catalog, "schema": schema}.items() if v}
    with common.reporting(form is Format.json, text), Gateway(url, user, token) as gateway:
        proof = common.signed_question(text, purpose, token, key)
        if dry_run:
            _print_explanation(gateway.dry_run(body, proof), form is Format.json)
            return
        answer = _ask(gateway, body, proof, form, output, max_rows)
        for line in render.warnings(answer):
            common.err().print(line)
        if form is not Format.json:
            common.err().print(render.footer(answer))


def _ask(
    gateway: Gateway, body: dict[str, Any], proof: dict[str, str], form: Format, output: Path | None, max_rows: int
) -> Answer:
    """Run the statement and write its answer; Ctrl-C stops it everywhere."""
    whole = form in (Format.table, Format.md, Format.json)
    wire = "json" if whole else "csv" if form is Format.csv else "arrow"
    query_id = gateway.submit({**body, "format": wire}, proof)
    try:
        with _progress(gateway, query_id, show=whole or output is not None):
            if not whole:
                return _save(gateway, query_id, form, output)
            answer = Answer.from_api(gateway.result(query_id))
    except KeyboardInterrupt:
        gateway.cancel(query_id)
        raise
    _write(answer, form, output, max_rows)
    return answer


def _properties(pairs: list[str]) -> dict[str, str]:
    found = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(found) or any("=" not in pair for pair in pairs):
        raise typer.BadParameter("--session takes NAME=VALUE, for example --session allow_partial=true")
    return found


@contextmanager
def _progress(gateway: Gateway, query_id: str, show: bool) -> Iterator[None]:
    """Meanwhile, from half a second on, a line per department on the terminal."""
    console = common.err()
    if not (show and console.is_terminal):
        yield
        return
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(gateway, query_id, console, over), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _watch(gateway: Gateway, query_id: str, console: Console, over: threading.Event) -> None:
    started = time.monotonic()
    if over.wait(QUIET_SECONDS):
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while True:
            try:
                state = gateway.progress(query_id)
            except CityError:
                # Progress is a courtesy: the answer or its error is what counts.
                return
            live.update(render.progress(state, time.monotonic() - started), refresh=True)
            if over.wait(REFRESH_SECONDS):
                return


def _write(answer: Answer, form: Format, output: Path | None, max_rows: int) -> None:
    if form is Format.table and output is None:
        console = common.out()
        console.print(render.table(answer, console.width, max_rows))
        return
    with _target(output) as target:
        if form is Format.json:
            target.write(render.answer_json(answer))
        elif form is Format.md:
            target.write(render.markdown(answer).encode() + b"\n")
        else:
            text = Console(file=None, width=100_000, highlight=False, no_color=True)
            with text.capture() as captured:
                text.print(render.table(answer, text.width))
            target.write(captured.get().encode())


def _save(gateway: Gateway, query_id: str, form: Format, output: Path | None) -> Answer:
    """Stream an answer to a file without holding it; what was cut leaves no file behind."""
    with gateway.stream(query_id) as parts, _target(output) as target:
        if form is Format.parquet:
            _to_parquet(parts, target)
        else:
            for part in parts:
                target.write(part)
        state = gateway.progress(query_id)
        if state.get("error"):
            raise CityError.from_dict(state["error"])
        if state.get("state") != "FINISHED":
            raise InternalError("The answer was cut short.", hint="Ask again.")
    return Answer.from_api(state)


def _to_parquet(parts: Iterator[bytes], target: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pa.ipc.open_stream(_Reader(parts)) as reader, pq.ParquetWriter(target, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


class _Reader:
    """Parts of a body as the file that pyarrow reads."""

    closed = False

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._left) < size:
            part = next(self._parts, None)
            if part is None:
                break
            self._left += part
        size = len(self._left) if size < 0 else size
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


@contextmanager
def _target(output: Path | None) -> Iterator[IO[bytes]]:
    """stdout, or a file that appears whole or not at all."""
    if output is None:
        sys.stdout.flush()
        yield cast(IO[bytes], sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            yield file
        os.replace(draft, output)
    except OSError as bad:
        raise typer.BadParameter(f"{output} cannot be written: {bad.strerror}") from bad
    finally:
        draft.unlink(missing_ok=True)


def explain(
    sql: Annotated[str | None, typer.Argument(help="A Trino SELECT; - reads it from stdin.")] = None,
    file: FileOption = None,
    url: UrlOption = DEFAULT_URL,
    user: UserOption = "",
    token: TokenOption = "",
    purpose: PurposeOption = "",
    analyze: Annotated[bool, typer.Option("--analyze", help="Run it; tell where its time and bytes went.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show who will see what: the exact text that each department will be sent.

    Examples:

      atoll explain --user lin --file q1.sql

      atoll explain --analyze --user bi "SELECT count(*) FROM environment.main.air"

    Nothing runs without --analyze. Filters and native SQL of a department are its own and not shown.
    """
    common.require_login(user, token)
    text = common.read_sql(sql, file)
    body = {"sql": text, "purpose": purpose, "analyze": analyze}
    with common.reporting(as_json, text), Gateway(url, user, token) as gateway:
        _print_explanation(gateway.explain(body), as_json)


def _print_explanation(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        common.print_json(found)
    else:
        common.out().print(render.visible_lines(str(found.get("text", ""))))
