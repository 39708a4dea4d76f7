"""Private PostgreSQL and MariaDB servers for the demonstration, where they are installed.

Each listens on loopback alone, with a password made for this city; the agent's user may only read.
Started as root, they run as the user that their package made, in a folder that this user can reach.
The file `owner` in there holds the password of the user `owner`, who may change the data.

With ATOLL_DEMO_LOG_STATEMENTS=1 in the environment the servers write down every statement that they are
sent by the agents: DIR/logs/postgres.log and DIR/logs/mariadb-statements.log, which lasts as long as the city.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from atoll.demo.processes import Failed, Process, Processes, wait_until

__all__ = ["Database", "remove_leftovers", "start_mariadb", "start_postgres"]

READER = "agent"
PREFIXES = ("atoll-demo-pg-", "atoll-demo-my-")
LOG_STATEMENTS = "ATOLL_DEMO_LOG_STATEMENTS"


@dataclass(frozen=True)
class Database:
    """A running server. owner: how to load it (a conninfo for PostgreSQL, arguments of pymysql.connect).

    source: the entry for department.yaml, without the password. home: its folder, gone with the city.
    """

    process: Process
    owner: Any
    source: dict[str, Any]
    password: str
    version: str
    home: Path


def find_postgres() -> Path | None:
    """The newest PostgreSQL's folder of programs, None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: float(p.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path and shutil.which("initdb") else None


def find_mariadb() -> Path | None:
    """MariaDB's server program, None without one."""
    found = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found and shutil.which("mariadb-install-db") else None


def start_postgres(bin_dir: Path, processes: Processes, port: int, database: str, record: Path) -> Database:
    """A new server with one empty database and a user who may read it. Raises Failed.

    record: the file that notes its folder, for `remove_leftovers`.
    """
    user = _service_user("postgres")
    home = _home(PREFIXES[0], user, record)
    owner, reader = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    password_file = home / "owner"
    _private(password_file, owner, user)
    _run(
        [bin_dir / "initdb", "-D", home / "data", "-U", "owner", "--pwfile", password_file, "-A", "scram-sha-256",
         "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"], user, home,
    )  # fmt: skip
    settings = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": home, "fsync": "off",
        "full_page_writes": "off", "shared_buffers": "64MB", "work_mem": "64MB", "max_connections": 40, "jit": "off",
    }  # fmt: skip
    command = [str(bin_dir / "postgres"), "-D", str(home / "data")]
    command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    process = processes.start("postgres", command, user=user, folder=home, stop=signal.SIGINT)
    login = make_conninfo(host="127.0.0.1", port=port, user="owner", password=owner, connect_timeout=5)

    def ready() -> bool:
        try:
            psycopg.connect(login, dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    wait_until(process, ready)
    with psycopg.connect(login, dbname="postgres", autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(READER), reader))
        if _logs_statements():  # of the reader alone, or the log would hold passwords
            connection.execute(SQL("ALTER ROLE {} SET log_statement = 'all'").format(Identifier(READER)))
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(database)))
        version = str(connection.info.server_version // 10000)
    with psycopg.connect(login, dbname=database, autocommit=True) as connection:
        grant = SQL("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {}")
        connection.execute(grant.format(Identifier(READER)))
    source = {"kind": "postgres", "host": "127.0.0.1", "port": port, "database": database, "user": READER}
    loader = make_conninfo(login, dbname=database)
    return Database(process, loader, source, reader, f"PostgreSQL {version}", home)


def start_mariadb(server: Path, processes: Processes, port: int, database: str, record: Path) -> Database:
    """A new server with one empty database and a user who may read it. Raises Failed.

    record: the file that notes its folder, for `remove_leftovers`.
    """
    user = _service_user("mysql")
    home = _home(PREFIXES[1], user, record)
    owner, reader = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    install = shutil.which("mariadb-install-db")
    _run(
        [install, "--no-defaults", f"--datadir={home / 'data'}", "--skip-test-db", "--skip-name-resolve",
         "--auth-root-authentication-method=normal"], user, home,
    )  # fmt: skip
    # Runs before the first connection is accepted: there is no moment without passwords.
    setup = (
        f"CREATE DATABASE {database} CHARACTER SET utf8mb4;\n"
        f"CREATE USER 'owner'@'127.0.0.1' IDENTIFIED BY '{owner}';\n"
        f"GRANT ALL ON {database}.* TO 'owner'@'127.0.0.1';\n"
        f"CREATE USER '{READER}'@'127.0.0.1' IDENTIFIED BY '{reader}';\n"
        f"GRANT SELECT ON {database}.* TO '{READER}'@'127.0.0.1';\n"
        "DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1', 'root'@'localhost', ''@'localhost';\n"
    )
    if _logs_statements():  # only now, or the log would hold passwords
        log = home / "statements.log"
        setup += f"SET GLOBAL general_log_file = '{log}';\nSET GLOBAL general_log = ON;\n"
        # The server cannot write to the city's folder; what is there leads to where it can.
        shown = processes.logs / "mariadb-statements.log"
        shown.unlink(missing_ok=True)
        shown.symlink_to(log)
    _private(home / "owner", owner, user)
    _private(home / "setup.sql", setup, user)
    command = [
        str(server), "--no-defaults", f"--datadir={home / 'data'}", f"--socket={home / 'socket'}", f"--port={port}",
        f"--pid-file={home / 'pid'}", "--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin",
        "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=128M", "--character-set-server=utf8mb4",
        "--tmp-table-size=512M", "--max-heap-table-size=512M",
        f"--tmpdir={home}", f"--init-file={home / 'setup.sql'}", "--local-infile=1",
    ]  # fmt: skip
    process = processes.start("mariadb", command, user=user, folder=home)
    login: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "owner", "password": owner}
    login["database"] = database

    def ready() -> bool:
        try:
            pymysql.connect(**login).close()
        except pymysql.err.MySQLError:
            return False
        return True

    wait_until(process, ready)
    (home / "setup.sql").unlink()
    with pymysql.connect(**login) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT version()")
        version = str((cursor.fetchone() or ("",))[0]).split("-")[0].rsplit(".", 1)[0]
    source = {"kind": "mysql", "host": "127.0.0.1", "port": port, "database": database, "user": READER}
    return Database(process, login, source, reader, f"MariaDB {version}", home)


def _logs_statements() -> bool:
    return os.environ.get(LOG_STATEMENTS, "") not in ("", "0")


def remove_leftovers(record: Path) -> None:
    """Remove the servers' folders that a killed demo left behind. record: the file that names them."""
    if not record.exists():
        return
    for line in record.read_text().splitlines():
        home = Path(line)
        if home.parent == Path(tempfile.gettempdir()) and home.name.startswith(PREFIXES):
            shutil.rmtree(home, ignore_errors=True)
    record.unlink()


def _service_user(name: str) -> str:
    """The user to switch to: none unless we are root. Raises Failed if root has nobody to become."""
    if os.getuid() != 0:
        return ""
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        raise Failed(f"started as root, and there is no user {name} to run the server as") from None


def _home(prefix: str, user: str, record: Path) -> Path:
    """A new private folder: short, since unix sockets need short paths, and owned by the server's user."""
    home = Path(tempfile.mkdtemp(prefix=prefix))
    with record.open("a") as names:
        names.write(f"{home}\n")
    if user:
        shutil.chown(home, user, user)
    return home


def _private(file: Path, text: str, user: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text)
    if user:
        shutil.chown(file, user, user)


def _run(command: list[Any], user: str, home: Path) -> None:
    identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    done = subprocess.run(
        [str(part) for part in command], cwd=home, capture_output=True, text=True, check=False,
        env={"PATH": os.environ.get("PATH", "/usr/bin"), "HOME": str(home), "LC_ALL": "C.UTF-8"}, **identity,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"{Path(str(command[0])).name} failed: {' '.join(done.stderr.split())[-300:]}")
