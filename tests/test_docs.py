"""What a stranger reads is true: every command in README and docs is run, and its output compared.

A fenced block says by its first words what happens to it:

    console            `$ command` lines and the output that must follow each; `...` stands for anything
    bash               is run and must succeed; `&` at the end of a line starts a server and waits for `ready`
    bash background    is a server: started, waited for, stopped at the end of the page
    bash no-run        is not run: it needs what a test has not, such as a BI tool
    yaml title="F"     is written to the file F; other yaml is parsed, and grants in it are checked
    sql title="F"      is run in a new PostgreSQL database before its page
    python             is run
    java, js, go       is compiled and run by the suite of that client in tests/clients
    text, json         is read by people only

Blocks of a page share a folder and a shell's exports, in order. A reader's addresses are replaced by those of
one running demonstration (seed 4499, as README prints it).
"""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import psycopg
import pytest
import typer
import yaml

from atoll.cli import app
from atoll.demo.processes import free_port
from catalog import policy
from tests.demo import COLUMNS, Demo
from tests.servers import PostgresServer

pytestmark = [pytest.mark.city, pytest.mark.servers]

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
CODE = {"java", "js", "go"}
KINDS = {"console", "bash", "bash background", "bash no-run", "yaml", "sql", "python", *CODE, "text", "json", ""}
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block. kind: of `KINDS`. title: the file that it stands for."""

    page: Path
    line: int
    kind: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', match[1])
        kind = re.sub(r'\s*title="[^"]+"', "", match[1]).strip()
        found.append(Block(page, text.count("\n", 0, match.start()) + 1, kind, title[1] if title else "", match[2]))
    return found


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """The `$` lines of a console block, each with the lines of output below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            assert found, f"{block}: a console block begins with `$ `"
            found[-1][1].append(line)
    return found


# ---------------------------------------------------------------- how shown and real output are compared


def matches(shown: list[str], real: list[str]) -> bool:
    """Whether output fits what a page shows: `...` in a line is any text, alone on a line any lines."""
    parts = []
    for line in shown:
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(".*?".join(re.escape(part.rstrip()) for part in _pieces(line)) + r" *\n")
    text = "".join(f"{line.rstrip()}\n" for line in real)
    return re.fullmatch("".join(parts), text) is not None


def _pieces(line: str) -> list[str]:
    pieces = line.split("...")
    return [*(piece for piece in pieces[:-1]), pieces[-1].rstrip()]


@pytest.mark.parametrize(
    ("shown", "real", "fits"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], ["a", "c"], False),
        (["a", "b"], ["a", "b", "c"], False),
        (["a", "..."], ["a", "b", "c"], True),
        (["...", "c"], ["a", "b", "c"], True),
        (["a", "...", "c"], ["a", "c"], True),
        (["3 rows · ... s · x"], ["3 rows · 0.1 s · x"], True),
        (["3 rows · ... s · x"], ["3 rows · 0.1 s · y"], False),
        (["|...|"], ["|1|", "|2|"], False),
    ],
)
def test_shown_output_is_compared_line_by_line(shown: list[str], real: list[str], fits: bool) -> None:
    assert matches(shown, real) is fits


# ---------------------------------------------------------------- the city that pages talk to


@dataclass
class Shell:
    """A page's reader: a folder, exports that stay, servers in the background, the demonstration's addresses.

    shelf: the folder that its `atoll` is found in.
    """

    demo: Demo
    folder: Path
    shelf: Path
    postgres: PostgresServer
    agent_ports: tuple[int, int]
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def here(self, text: str) -> str:
        """A page's text with this machine's addresses in it."""
        for there, here in self._addresses():
            text = text.replace(there, here)
        return text

    def _addresses(self) -> Iterator[tuple[str, str]]:
        port = self.demo.url.rsplit(":", 1)[1]
        yield "127.0.0.1:8080", f"127.0.0.1:{port}"
        yield "port=8080", f"port={port}"
        yield "http://127.0.0.1:8081", self.demo.state["issuer"]
        yield "127.0.0.1:7400", f"127.0.0.1:{self.agent_ports[0]}"
        yield "127.0.0.1:7401", f"127.0.0.1:{self.agent_ports[1]}"
        yield "city-data/", f"{self.demo.folder}/"
        yield "host: db.local", f"host: {self.postgres.host}, port: {self.postgres.port}"
        yield "@db.local/", f"@{self.postgres.host}:{self.postgres.port}/"

    def run(self, command: str) -> list[str]:
        """The lines that a command prints, both streams; its exit status is for `succeed`."""
        return self._bash(command).stdout.splitlines()

    def succeed(self, command: str) -> None:
        done = self._bash(command)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"

    def _bash(self, command: str) -> subprocess.CompletedProcess[str]:
        state = self.folder / ".exports"
        script = f'[ -f {state} ] && . {state}\ntrap "export -p > {state}" EXIT\n{self.here(command)}\n'
        return subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self._environment(), text=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        path = f"{self.shelf}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "ATOLL_URL": self.demo.url, "COLUMNS": COLUMNS, "NO_COLOR": "1"}

    def start(self, command: str) -> None:
        """A server: it says `ready` when it answers."""
        log = self.folder / f"server-{len(self.servers)}.log"
        state = self.folder / ".exports"
        script = f"[ -f {state} ] && . {state}\nexec {self.here(command)}"
        with log.open("wb") as sink:
            server = subprocess.Popen(
                ["bash", "-c", script], cwd=self.folder, env=self._environment(), stdout=sink, stderr=sink,
                start_new_session=True,
            )  # fmt: skip
        self.servers.append(server)
        deadline = time.monotonic() + 30
        while "ready " not in log.read_text():
            assert server.poll() is None, f"$ {command}\n{log.read_text()}"
            assert time.monotonic() < deadline, f"$ {command}\nis not ready"
            time.sleep(0.05)

    def stop(self) -> None:
        """End this reader's servers."""
        while self.servers:
            server = self.servers.pop()
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


@pytest.fixture
def shell(readme_city: Demo, shelf: Path, tmp_path: Path, postgres: PostgresServer) -> Iterator[Shell]:
    taken: set[int] = set()
    reader = Shell(readme_city, tmp_path, shelf, postgres, (free_port(taken), free_port(taken)))
    try:
        yield reader
    finally:
        reader.stop()


@pytest.fixture
def library(postgres: PostgresServer) -> Iterator[str]:
    """An empty database of the tutorial's name."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE library")
        yield postgres.dsn("library")
        connection.execute("DROP DATABASE library WITH (FORCE)")
        connection.execute("DROP ROLE reader")


# ---------------------------------------------------------------- every page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        assert block.kind in KINDS, f"{block}: {block.kind!r}"
        assert not (block.kind == "" and "$ " in block.text), f"{block}: commands in a block without a kind"


RUN = {p for p in PAGES if {b.kind for b in blocks(p)} & {"console", "bash", "bash background", "python"}}
DEPARTMENT = DOCS / "tutorial" / "your-department.md"
APART = {ROOT / "CONTRIBUTING.md", DEPARTMENT}
"""CONTRIBUTING's commands are `make test` itself and its quick loop. The other one has a test of its own."""


@pytest.mark.parametrize("page", sorted(RUN - APART), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_does_what_the_page_shows(page: Path, shell: Shell) -> None:
    follow(page, shell)


def test_a_department_joins_as_the_tutorial_says_and_as_the_five_lines_of_readme_do(shell: Shell, library: str) -> None:
    (sql,) = (b for b in blocks(DEPARTMENT) if b.kind == "sql")
    with psycopg.connect(library, autocommit=True) as connection:
        connection.execute(sql.text.encode())
    follow(DEPARTMENT, shell)
    shell.stop()
    # The same again in short: what the editor leaves is the file that the tutorial came to.
    (shell.folder / "department.yaml").rename(shell.folder / "edited.yaml")
    shell.succeed('export EDITOR="cp edited.yaml"')
    (lines,) = (b for b in blocks(README) if "agent draft" in b.text)
    for line in lines.text.splitlines():
        command = line.partition("#")[0].strip()
        if command.endswith("&"):
            shell.start(command.removesuffix("&"))
        else:
            shell.succeed(command)
    assert "Harbour" in "\n".join(shell.run(command))


def follow(page: Path, shell: Shell) -> None:
    """Do what a page says, block by block."""
    for block in blocks(page):
        match block.kind:
            case "yaml" if block.title:
                (shell.folder / block.title).write_text(shell.here(block.text), encoding="utf-8")
            case "bash":
                shell.succeed(block.text)
            case "bash background":
                shell.start(block.text.strip())
            case "python":
                run_python(shell, block)
            case "console":
                for command, shown in commands(block):
                    compare(shell, block, command, shown)


def compare(shell: Shell, block: Block, command: str, shown: list[str]) -> None:
    if command == "make demo":
        real, shown = in_one_order(shell.demo.lines), in_one_order(shown)
    else:
        real = shell.run(command)
    shown = [shell.here(line) for line in shown]
    assert matches(shown, real), "\n".join([f"{block}: $ {command}", "--- shown", *shown, "--- real", *real])


def in_one_order(lines: list[str]) -> list[str]:
    """The launcher's output with the ticks in the order of their names: departments come up as they can."""
    ticks = sorted(line for line in lines if line.startswith("  ✓ "))
    return [ticks.pop(0) if line.startswith("  ✓ ") else line for line in lines]


def run_python(shell: Shell, block: Block) -> None:
    done = subprocess.run(
        [sys.executable, "-c", shell.here(block.text)], cwd=shell.folder, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stderr[-3000:]}"
    assert done.stdout.strip(), f"{block}: it shows nothing"


def test_what_is_not_run_names_commands_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unrun = [b for p in PAGES for b in blocks(p) if b.kind == "bash no-run" or (p in APART and b.kind == "bash")]
    for block in unrun:
        for words in (line.split() for line in block.text.splitlines()):
            if words[:1] == ["make"]:
                assert words[1] in targets, f"{block}: make {words[1]}"
            if words[:1] == ["atoll"]:
                assert exists(words[1:]), f"{block}: {' '.join(words)}"


def exists(words: list[str]) -> bool:
    """Whether `atoll` has this command, with these options."""
    found: Any = typer.main.get_command(app)
    for word in words:
        if not hasattr(found, "commands"):
            break
        if word not in found.commands:
            return False
        found = found.commands[word]
    options = {option for p in found.params for option in p.opts}
    return {w for w in words if w.startswith("-") and len(w) > 1 and not w[1].isdigit()} <= options


# ---------------------------------------------------------------- files shown, generated pages, links


def test_yaml_that_a_page_shows_is_yaml_and_its_grants_are_grants() -> None:
    for block in (b for page in PAGES for b in blocks(page) if b.kind == "yaml"):
        data = yaml.safe_load(block.text)
        for grant in (data or {}).get("grants", ()):
            policy.Grant.model_validate(grant)
        if block.title == "department.yaml":
            assert policy.parse(block.text).grants, str(block)


def test_generated_pages_are_up_to_date() -> None:
    made = runpy.run_path(str(DOCS / "generate.py"))["generated"]()
    stale = [str(path) for path, text in made if path.read_text(encoding="utf-8") != text]
    assert not stale, "run `make docs`"


def schema(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads((DOCS / f"reference/schemas/{name}.json").read_text()))


def as_json(file: Path) -> Any:
    return json.loads(json.dumps(yaml.safe_load(file.read_text(encoding="utf-8")), default=str))


def test_the_schemas_accept_what_the_city_runs_with_and_no_unknown_key(readme_city: Demo) -> None:
    city = readme_city.folder
    files = [*city.glob("departments/*/department.yaml")]
    assert len(files) == 6
    for file in files:
        schema("department").validate(as_json(file))
    schema("gateway").validate(as_json(city / "gateway/gateway.yaml"))
    wrong = {**as_json(files[0]), "grnats": []}
    assert not schema("department").is_valid(wrong)
    wrong = as_json(files[0])
    next(iter(wrong["sources"].values()))["pasword"] = "env:X"
    assert not schema("department").is_valid(wrong)


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if target.startswith(("http://127.0.0.1", "#")):
            continue
        assert not target.startswith("http"), f"{page}: {target} leaves the repository"
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve()
        assert found.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(found), f"{page}: {target}"


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}


def test_every_page_can_be_reached_from_the_first() -> None:
    seen: set[Path] = set()
    waiting = [README]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            found = (page.parent / target.partition("#")[0]).resolve()
            waiting += [found] if found.is_file() else []
    missing = {p for p in DOCS.rglob("*.md") if p not in seen and p.parent.name != "decisions"}
    assert not missing


def test_files_that_pages_name_exist() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:atoll|catalog|connectors|gateway|tests|docs)/[\w./-]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page}: {path}"


def test_what_is_called_missing_is_missing() -> None:
    """When one of these is built, `not-covered-yet.md` has a line too many."""
    page = (DOCS / "explanation/not-covered-yet.md").read_text(encoding="utf-8")
    assert "the owner writes into the policy; grantees cannot" in " ".join(page.split())
    assert not exists(["request", "--delegate"])
    assert not exists(["grants", "approve", "--delegate"])
