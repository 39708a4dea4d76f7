"""Real PostgreSQL 15 and MariaDB 10.11 servers for tests, benchmarks and the demo, without a container.

    with postgres_server() as server:
        psycopg.connect(server.dsn("postgres"))
    with mariadb_server() as server:
        pymysql.connect(**server.settings(), database="mysql")

Each starts in a new folder of the system's temporary directory, on a free loopback port, logs every
statement to `server.log` and is gone with its folder at the end. A server that is not installed is an
error that says what to install, never a skip. Neither server runs as root: under root the start
switches to the user that the package made (`postgres`, `mysql`).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from atoll.demo import processes

__all__ = ["MariaDBServer", "PostgresServer", "mariadb_server", "postgres_server"]

POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")
START_SECONDS = 60.0


@dataclass(frozen=True)
class PostgresServer:
    """A running server; superuser `postgres`, without password on loopback."""

    host: str
    port: int
    log: Path
    folder: Path
    user: str = "postgres"

    def dsn(self, database: str) -> str:
        return f"host={self.host} port={self.port} user={self.user} dbname={database}"


@dataclass(frozen=True)
class MariaDBServer:
    """A running server; `root` without password on loopback."""

    host: str
    port: int
    log: Path
    folder: Path
    user: str = "root"

    def settings(self) -> dict[str, Any]:
        """Arguments for `pymysql.connect`."""
        return {"host": self.host, "port": self.port, "user": self.user, "charset": "utf8mb4"}


def free_port() -> int:
    """A TCP port of loopback that nobody listens on right now."""
    return processes.free_port(set())


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL 15 with ICU's English as its default collation (so that text order is a real trap)."""
    initdb, postgres = POSTGRES_BIN / "initdb", POSTGRES_BIN / "postgres"
    if not (initdb.exists() and postgres.exists()):
        raise RuntimeError(f"PostgreSQL 15 is missing at {POSTGRES_BIN}: apt-get install postgresql-15")
    with _folder("atoll-pg-", "postgres") as (folder, identity):
        data, log, port = folder / "data", folder / "server.log", free_port()
        _run(
            [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions",
             "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"],
            folder, identity,
        )  # fmt: skip
        options = {
            "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder,
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "log_statement": "all",
            "shared_buffers": "64MB", "max_connections": 60, "log_line_prefix": "%m [%p] %d ", "jit": "off",
        }  # fmt: skip
        command = [str(postgres), "-D", str(data), *(a for k, v in options.items() for a in ("-c", f"{k}={v}"))]
        server = PostgresServer("127.0.0.1", port, log, folder)
        with _process(command, folder, log, identity, signal.SIGQUIT) as process:
            _until(lambda: psycopg.connect(server.dsn("postgres")).close(), process, log, psycopg.Error)
            yield server


@contextmanager
def mariadb_server() -> Iterator[MariaDBServer]:
    """A MariaDB 10.11 with its usual case-insensitive, padding collation as default."""
    mariadbd = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    install = shutil.which("mariadb-install-db") or shutil.which("mysql_install_db")
    if not (mariadbd and install):
        raise RuntimeError("MariaDB is missing (mariadbd, mariadb-install-db): apt-get install mariadb-server")
    with _folder("atoll-my-", "mysql") as (folder, identity):
        data, log, port = folder / "data", folder / "general.log", free_port()
        data.mkdir()
        _own(data, identity)
        _run(
            [install, "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve",
             "--auth-root-authentication-method=normal", "--innodb-flush-log-at-trx-commit=0"],
            folder, identity,
        )  # fmt: skip
        command = [
            mariadbd, "--no-defaults", f"--datadir={data}", f"--socket={folder / 'socket'}", f"--port={port}",
            f"--pid-file={folder / 'pid'}", "--bind-address=127.0.0.1", "--skip-name-resolve", "--general-log=1",
            f"--general-log-file={log}", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M",
            "--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci", "--skip-log-bin",
            f"--tmpdir={folder}", "--max-connections=60",
        ]  # fmt: skip
        server = MariaDBServer("127.0.0.1", port, log, folder)
        errors = folder / "server.log"
        with _process(command, folder, errors, identity, signal.SIGKILL) as process:
            _until(lambda: pymysql.connect(**server.settings()).close(), process, errors, pymysql.err.MySQLError)
            yield server


# --- how a server is started and stopped -------------------------------------------------------------


@dataclass(frozen=True)
class _Identity:
    uid: int
    gid: int

    def arguments(self) -> dict[str, Any]:
        """How subprocess switches user; nothing to do unless we are root."""
        if os.getuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def _own(path: Path, identity: _Identity) -> None:
    if os.getuid() == 0:
        os.chown(path, identity.uid, identity.gid)


@contextmanager
def _folder(prefix: str, user: str) -> Iterator[tuple[Path, _Identity]]:
    """A private folder that belongs to whoever runs the server; short, for unix sockets need short paths."""
    try:
        entry = pwd.getpwnam(user) if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    except KeyError:
        raise RuntimeError(f"started as root, and there is no user {user!r} to run the server as") from None
    identity = _Identity(entry.pw_uid, entry.pw_gid)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    try:
        _own(folder, identity)
        yield folder, identity
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[Any], folder: Path, identity: _Identity) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ.get("PATH", "/usr/bin"), "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        **identity.arguments(),
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")


@contextmanager
def _process(
    command: list[str], folder: Path, log: Path, identity: _Identity, stop: signal.Signals
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as sink:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True,
            env={"PATH": os.environ.get("PATH", "/usr/bin"), "HOME": str(folder), "LC_ALL": "C.UTF-8"},
            **identity.arguments(),
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until(connect: Callable[[], None], process: subprocess.Popen[bytes], log: Path, not_yet: type[Exception]) -> None:
    """Wait until the server accepts a connection; raise with its log if it dies or takes too long."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return connect()
        except not_yet:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.05)
