"""`atoll demo`: makes a city's data, starts its processes, asks the flagship question, waits, stops all.

    identity provider   python -m atoll.demo.idp            the chemicals register   python -m atoll.city.register
    six agents          python -m connectors.agent.serve    the gateway              python -m gateway.server.serve
    PostgreSQL for water and MariaDB for market where they are installed, else SQLite

Each is a process of its own (on Linux forked ahead, see `ahead.py`) with a log in DIR/logs, on loopback alone;
between the gateway and the agents there is mutual TLS, with certificates made here. `ready URL` on a line of its
own says that everything answers; SIGINT, SIGTERM or SIGHUP ends everything.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import orjson
import yaml
from rich.console import Console
from rich.text import Text

from atoll import render
from atoll.city import Config, load_servers
from atoll.city.base import VERSION
from atoll.city.signing import check_heat_calendar
from atoll.commands import common
from atoll.commands.agent import receipt_key
from atoll.commands.client import Gateway
from atoll.demo import data, databases
from atoll.demo.ahead import fork_ahead
from atoll.demo.databases import Database
from atoll.demo.install import (
    DEPARTMENTS,
    Ports,
    install_department,
    install_gateway,
    install_identity,
    policy_words,
)
from atoll.demo.processes import Ended, Failed, Process, Processes, answers, ending, free_port, wait_until
from atoll.demo.signals import ENDS
from catalog.errors import CityError
from catalog.http import Client, HTTPError
from catalog.policy import Department

__all__ = ["Options", "run"]

MARKER = ".atoll-city"
SERVERS = "servers.txt"
MADE = (
    "silos",
    "truth",
    "answers",
    "departments",
    "gateway",
    "idp",
    "logs",
    "manifest.json",
    "demo.json",
    "servers.txt",
)
IDP, REGISTER = "atoll.demo.idp", "atoll.city.register"
AGENT, GATEWAY = "connectors.agent.serve", "gateway.server.serve"
KINDS = {"sqlite": "SQLite", "files": "files", "rest": "REST", "postgres": "PostgreSQL", "mysql": "MariaDB"}
FLAGSHIP = "q1.sql"
SHOWN_ROWS = 10
POLL_SECONDS = 0.05
SNAPSHOT_SECONDS = 600.0


@dataclass(frozen=True)
class Options:
    """What `atoll demo` was asked for. years: "" or "2014-2019". port: of the gateway, 0 = a free one."""

    folder: Path
    scale: str = "small"
    seed: int = 4499
    years: str = ""
    dirt: float = 1.0
    frauds: int = 1
    port: int = 8080
    headless: bool = False
    only_data: bool = False
    reset: bool = False

    def config(self) -> Config:
        """The city to make. Raises Failed for years that are none."""
        years = None
        try:
            if self.years:
                first, _, last = self.years.partition("-")
                years = (int(first), int(last or first))
            return Config(self.seed, self.scale, years, self.dirt, bool(self.frauds))
        except ValueError as bad:
            raise Failed(str(bad)) from None


def run(options: Options) -> int:
    """Run the demonstration until a signal; returns the exit status."""
    console = common.out()
    ending.watch()
    try:
        with _own(options.folder, options.reset):
            _run(options, console)
    except Failed as bad:
        common.err().print(Text.assemble(("✗ ", "red bold"), str(bad)))
        return 1
    except Ended:
        console.print(f"Stopped; nothing is left running. Start again: {_again(options)}", soft_wrap=True)
    return 0


def _again(options: Options) -> str:
    words = ["atoll", "demo"]
    words += ["--dir", str(options.folder)] if options.folder != Path("city-data") else []
    words += ["--scale", options.scale] if options.scale != "small" else []
    words += ["--port", str(options.port)] if options.port != 8080 else []
    return " ".join(words)


def _run(options: Options, console: Console) -> None:
    started = time.monotonic()
    config, folder = options.config(), options.folder.resolve()
    console.print(
        f"atoll demo · the fictional city of Hailan · {config.scale_name}, "
        f"{config.first_year}-{config.last_year}, seed {config.seed}",
        style="bold",
    )
    _make_data(config, folder, options, console)
    if options.only_data:
        console.print(f"silos {folder / 'silos'} · answer key {folder / 'answers'}")
        return
    with ExitStack() as stack:
        # Before anything here is secret: install_* make keys, the servers have passwords.
        waiting = fork_ahead((IDP, REGISTER, AGENT, GATEWAY), len(DEPARTMENTS) + 3)
        processes = Processes(folder / "logs", ahead=waiting)
        stack.callback(databases.remove_leftovers, folder / SERVERS)
        stack.callback(_stop, processes, folder)
        ports = _ports(options)
        _check_calendar(folder / "silos")
        install_identity(folder)
        city = _City(config, folder, ports, processes, console)
        city.start_services()
        # Those that need no database server begin at once: chemicals has a metered register to read.
        for name in ("chemicals", "environment", "housing", "health"):
            city.start_agent(name)
        servers = _start_servers(processes, ports, folder, console)
        for name in ("water", "market"):
            city.start_agent(name, servers.get(name))
        city.start_gateway()
        city.wait()
        url = f"http://127.0.0.1:{ports.gateway}"
        _ask_flagship(url, console)
        _say_addresses(url, ports, folder, options, console)
        _write_state(folder, url, ports, processes, servers)
        seconds = time.monotonic() - started
        console.print(f"up in {seconds:.1f} s · Ctrl-C stops everything", style="dim")
        print(f"ready {url}", flush=True)
        _open_page(url, options)
        _wait(processes, set(city.departments), console)


def _stop(processes: Processes, folder: Path) -> None:
    """Stop everything; a second Ctrl-C must not leave half of it running."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)
    processes.stop()
    (folder / "demo.json").unlink(missing_ok=True)


# ---------------------------------------------------------------- the folder


@contextmanager
def _own(folder: Path, reset: bool) -> Iterator[None]:
    """Hold the city's folder alone. Raises Failed if it is another's, or in use."""
    marker = folder / MARKER
    if folder.exists() and not marker.exists() and any(folder.iterdir()):
        raise Failed(f"{folder} is not empty and holds no atoll city: name another with --dir")
    folder.mkdir(parents=True, exist_ok=True)
    with marker.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"another demo runs in {folder}: stop it, or name another with --dir") from None
        # Of a demo that was killed.
        databases.remove_leftovers(folder / SERVERS)
        if reset:
            for name in MADE:
                _remove(folder / name)
        yield


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make_data(config: Config, folder: Path, options: Options, console: Console) -> None:
    """Generate the city unless this very one is there. Raises Failed if it is another."""
    wanted = {
        "seed": config.seed, "scale": config.scale_name, "years": [config.first_year, config.last_year],
        "dirt": config.dirt, "frauds": int(config.frauds), "version": VERSION,
    }  # fmt: skip
    manifest = folder / "manifest.json"
    if manifest.exists():
        found = orjson.loads(manifest.read_bytes())
        other = [name for name, value in wanted.items() if found.get(name) != value]
        if other:
            raise Failed(
                f"{options.folder} holds another city (other {', '.join(other)}): --reset makes a new one there"
            )
        console.print("  data      found, unchanged", style="dim")
        return
    started = time.monotonic()
    with console.status("making the data …"), _making(config, folder) as maker:
        while maker.alive:
            ending.check()
            time.sleep(POLL_SECONDS)
        if maker.popen.returncode != 0:
            raise Failed(f"the data could not be made; the reason is in {maker.log}")
    size = sum(file.stat().st_size for file in (folder / "silos").rglob("*") if file.is_file())
    console.print(f"  data      {size / 1e6:,.0f} MB made in {time.monotonic() - started:.1f} s", style="dim")


@contextmanager
def _making(config: Config, folder: Path) -> Iterator[Process]:
    """The maker as a process of its own: stopped with everything it started, whatever happens."""
    processes = Processes(folder / "logs")
    try:
        yield processes.start("data", [sys.executable, *data.command(config, folder)])
    finally:
        processes.stop()


# ---------------------------------------------------------------- starting


def _ports(options: Options) -> Ports:
    """A free port for everything. Raises Failed if the wished one is taken."""
    taken: set[int] = set()
    if options.port:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", options.port))
            except OSError:
                raise Failed(f"port {options.port} is taken: --port 0 takes a free one") from None
        taken.add(options.port)
    gateway = options.port or free_port(taken)
    identity = _next_port(gateway, taken)
    agents = {name: free_port(taken) for name in DEPARTMENTS}
    owners = {name: free_port(taken) for name in DEPARTMENTS}
    return Ports(gateway, identity, free_port(taken), agents, owners)


def _next_port(port: int, taken: set[int]) -> int:
    """The port after this one, which people can remember; any free one if that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port + 1))
        except (OSError, OverflowError):
            return free_port(taken)
    taken.add(port + 1)
    return port + 1


def _start_servers(processes: Processes, ports: Ports, folder: Path, console: Console) -> dict[str, Database]:
    """PostgreSQL for water, MariaDB for market, if installed; filled from the embedded copies."""
    taken = {ports.gateway, ports.idp, ports.register, *ports.agents.values(), *ports.owners.values()}
    record = folder / SERVERS
    found: dict[str, Database] = {}
    postgres, mariadb = databases.find_postgres(), databases.find_mariadb()
    if postgres is not None:
        found["water"] = databases.start_postgres(postgres, processes, free_port(taken), "water", record)
    if mariadb is not None:
        found["market"] = databases.start_mariadb(mariadb, processes, free_port(taken), "market", record)
    if not found:
        console.print("  servers   none installed: water and market are SQLite", style="dim")
        return found
    with console.status("filling the database servers …"):
        load_servers(
            folder,
            water_dsn=found["water"].owner if "water" in found else None,
            market=found["market"].owner if "market" in found else None,
        )
    console.print(f"  servers   {', '.join(d.version for d in found.values())}", style="dim")
    return found


def _check_calendar(silos: Path) -> None:
    """Health takes environment's heat calendar only if it is what environment signed. Raises Failed."""
    try:
        check_heat_calendar(
            silos / "health" / "health.db",
            silos / "health" / "heat_calendar.sig",
            silos / "environment" / "heat_calendar.pub",
        )
    except ValueError as bad:
        raise Failed(f"health refuses its heat calendar: {bad}") from None


class _City:
    """The city's own processes: their configuration, their start, and a tick each when it answers."""

    def __init__(self, config: Config, folder: Path, ports: Ports, processes: Processes, console: Console) -> None:
        self._config = config
        self._folder = folder
        self._ports = ports
        self._processes = processes
        self._console = console
        self._kinds: dict[str, str] = {}
        self._running: dict[str, Process] = {}
        self.departments: dict[str, Department] = {}

    def start_services(self) -> None:
        """The identity provider, and the register that chemicals reads."""
        idp = ["--dir", str(self._folder / "idp"), "--port", str(self._ports.idp), "--dev-login"]
        register = ["--dir", str(self._folder), "--port", str(self._ports.register)]
        self._module("idp", IDP, *idp)
        self._module("register", REGISTER, *register)
        self._await("register", self._ports.register)

    def start_agent(self, name: str, server: Database | None = None) -> None:
        source, password = (server.source, server.password) if server else (None, "")
        file = install_department(name, self._folder, self._config, self._ports, source, password)
        department = Department.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        self.departments[name] = department
        self._kinds[name] = server.version if server else KINDS[department.sources["main"]["kind"]]
        self._module(name, AGENT, str(file))

    def start_gateway(self) -> None:
        registered = {
            name: (department.title, receipt_key(self._home(name), department).public_jwk)
            for name, department in self.departments.items()
        }
        contacts = {name: department.answers for name, department in self.departments.items()}
        settings = install_gateway(self._folder, self._ports, registered, questions_folder(), contacts)
        self._module("gateway", GATEWAY, str(settings), "--allow-dev-login")

    def wait(self) -> None:
        """Until everything answers. One line per department as it comes up. Raises Failed."""
        self._await("idp", self._ports.idp)
        waiting = set(self.departments)
        with Client(trust_env=False, timeout=2) as http:
            while waiting:
                ending.check()
                up = [n for n in waiting if answers(http, f"http://127.0.0.1:{self._ports.owners[n]}/healthz")]
                for name in up:
                    waiting.remove(name)
                    self._tick(name)
                if not up:
                    dead = next((n for n in waiting if not self._running[n].alive), None)
                    if dead is not None:
                        raise Failed(f"{dead} stopped while starting; the reason is in {self._running[dead].log}")
                    time.sleep(POLL_SECONDS)
        self._await("gateway", self._ports.gateway)
        with self._console.status("chemicals reads its register …"):
            wait_until(self._running["chemicals"], self._snapshot_taken, SNAPSHOT_SECONDS)

    def _snapshot_taken(self) -> bool:
        """Whether chemicals has read its register once: until then it would keep everybody waiting."""
        try:
            with Client(trust_env=False, timeout=5) as http:
                status = http.get(f"http://127.0.0.1:{self._ports.owners['chemicals']}/owner/status").json()
        except HTTPError:
            return False
        return "main" in status["vintages"]

    def _home(self, name: str) -> Path:
        return self._folder / "departments" / name / "department.yaml"

    def _module(self, name: str, module: str, *arguments: str) -> None:
        self._running[name] = self._processes.run(name, module, *arguments)

    def _await(self, name: str, port: int) -> None:
        with Client(trust_env=False, timeout=2) as http:
            wait_until(self._running[name], lambda: answers(http, f"http://127.0.0.1:{port}/healthz"))

    def _tick(self, name: str) -> None:
        department = self.departments[name]
        self._console.print(
            Text.assemble(
                ("  ✓ ", "green"), (f"{name:<12}", "bold"),
                f"{self._kinds[name]:<15}{len(department.relations):>2} tables   ",
                f"{policy_words(department):<44}", (f"127.0.0.1:{self._ports.agents[name]}", "dim"),
            )
        )  # fmt: skip


def questions_folder() -> Path:
    """The five questions: inside the package, or in the tests of a checkout."""
    packed = Path(str(files("atoll.city"))) / "questions"
    return packed if packed.is_dir() else Path(__file__).resolve().parents[2] / "tests" / "city" / "questions"


# ---------------------------------------------------------------- the first answer


def _ask_flagship(url: str, console: Console) -> None:
    """Ask the first question as its own user, and show the answer as `atoll query` would."""
    sql = (questions_folder() / FLAGSHIP).read_text(encoding="utf-8")
    head = [line[3:].split(": ", 1) for line in sql.splitlines()[:4] if line.startswith("-- ")]
    notes = {words[0]: words[1] for words in head if len(words) == 2}
    console.print()
    console.print(
        Text.assemble(
            (notes.get("title", FLAGSHIP), "bold"), (f"  {notes['user']} asks, for {notes['purpose']}", "dim")
        )
    )
    if "legend" in notes:
        console.print(notes["legend"], style="dim", soft_wrap=True)
    with Gateway(url, user=notes["user"]) as gateway:
        try:
            with console.status("asking three departments …"):
                answer = render.Answer.from_api(gateway.result(gateway.submit({"sql": sql, "format": "json"})))
        except CityError as error:
            render.print_error(console, error, sql)
            return
    console.print(render.table(answer, console.width, SHOWN_ROWS))
    for department in answer.departments:
        masks = ", ".join(department.get("masks") or ()) or "nothing masked"
        console.print(
            Text.assemble(
                "  ", (f"{department['name']:<12}", "bold"),
                f"{department['rows']:>7,} rows  {department['seconds']:>5.2f} s  ", (masks, "dim"),
            )
        )  # fmt: skip
    for line in render.warnings(answer):
        console.print(line)
    console.print(render.footer(answer))


def _say_addresses(url: str, ports: Ports, folder: Path, options: Options, console: Console) -> None:
    where = f" --url {url}" if ports.gateway != 8080 else ""
    lines = (
        ("page", url),
        ("JDBC", f"jdbc:trino://127.0.0.1:{ports.gateway}?user=lin"),
        ("Python", f'trino.dbapi.connect(host="127.0.0.1", port={ports.gateway}, user="lin")'),
        ("DBeaver", f"connection Trino, host 127.0.0.1, port {ports.gateway}, user lin, no password"),
        ("REST", f"curl -H 'X-Trino-User: lin' {url}/api/departments    docs: {url}/api/docs"),
        ("identity", f"{ports.issuer}    users: lin chen wu he luo ma bi mei fang gao tang zhao sun"),
        ("logs", str(folder / "logs")),
        ("next", f'atoll query{where} --user lin "SELECT * FROM city.org.company LIMIT 5"'),
    )
    console.print()
    for name, text in lines:
        console.print(Text.assemble((f"  {name:<10}", "bold"), text), soft_wrap=True)


def _write_state(folder: Path, url: str, ports: Ports, processes: Processes, servers: dict[str, Database]) -> None:
    """DIR/demo.json: addresses and process ids, for programs that look after a running demo.

    servers: how a department's owner reaches its database: port, and the file with the password of `owner`.
    """
    state = {
        "url": url,
        "issuer": ports.issuer,
        "departments": {
            name: {
                "url": ports.url(name),
                "owner": f"http://127.0.0.1:{ports.owners[name]}",
                "file": str(folder / "departments" / name / "department.yaml"),
            }
            for name in DEPARTMENTS
        },
        "processes": {process.name: process.popen.pid for process in processes.running},
        "servers": {
            name: {"port": server.source["port"], "password_file": str(server.home / "owner")}
            for name, server in servers.items()
        },
    }
    (folder / "demo.json").write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2))


def _open_page(url: str, options: Options) -> None:
    """Show the page where there is a screen to show it on."""
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen and sys.stdout.isatty() and not options.headless:
        webbrowser.open(url)


def _wait(processes: Processes, agents: set[str], console: Console) -> None:
    """Until a signal ends it: say once when a process has stopped, and go on with the others."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {*ENDS, signal.SIGCHLD})
    ending.check()
    while True:
        for process in processes.died():
            what = "its department is down" if process.name in agents else "the city works without it badly"
            console.print(Text.assemble(("✗ ", "red"), f"{process.name} stopped: {what}; see {process.log}"))
        if signal.sigwait({*ENDS, signal.SIGCHLD}) in ENDS:
            raise Ended
