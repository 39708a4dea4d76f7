"""What `make clients` needs: says what the machine lacks and how to get it, fetches each tool into .cache/clients.

    .cache/clients/{jdbc,js,go}/    libraries      .cache/clients/{dbt,superset}/    virtual environments

A folder is made anew when what the tool's folder here asks for has changed. Registries are those that the
package managers know. Exit status: 0 all is there, 1 something is missing (one line each on stderr).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "clients"
LOG_LINES = 15


def version(*command: str) -> tuple[int, ...]:
    """The first version number that a command prints; () if there is no such command."""
    if shutil.which(command[0]) is None:
        return ()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    found = re.search(r"(\d+)(?:\.(\d+))?", plain)
    return tuple(int(g) for g in found.groups() if g) if done.returncode == 0 and found else ()


NEEDS: list[tuple[str, tuple[str, ...], tuple[int, ...], str]] = [
    ("a JDK, 17 or newer", ("javac", "-version"), (17,), "apt-get install openjdk-17-jdk-headless"),
    ("Java, 17 or newer", ("java", "-version"), (17,), "apt-get install openjdk-17-jdk-headless"),
    ("Maven", ("mvn", "-B", "-v"), (3,), "apt-get install maven"),
    ("Node, 18 or newer", ("node", "--version"), (18,), "apt-get install nodejs npm (or nodejs.org)"),
    ("npm", ("npm", "--version"), (8,), "apt-get install npm"),
    ("Go, 1.25 or newer", ("go", "version"), (1, 25), "apt-get install golang-go (or go.dev)"),
]


def missing() -> list[str]:
    """One line for each thing that the machine lacks."""
    return [
        f"{what} is missing: {how}" for what, command, least, how in NEEDS if version(*command) < least
    ]  # fmt: skip


def run(*command: str, folder: Path | None = None) -> None:
    """Run a package manager; on failure its last lines and exit status 1."""
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env={**os.environ, "npm_config_update_notifier": "false"},
    )  # fmt: skip
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-LOG_LINES:])
        sys.exit(f"{' '.join(command)}\n{tail}\nThis tool could not be fetched; run `make clients` again.")


def jdbc(folder: Path) -> None:
    from tests.clients.jdbc.driver import jar

    jar()


def js(folder: Path) -> None:
    shutil.copy(HERE / "js" / "package.json", folder)
    run("npm", "install", "--no-audit", "--no-fund", "--silent", folder=folder)


def go(folder: Path) -> None:
    for name in ("go.mod", "go.sum"):
        shutil.copy(HERE / "go" / name, folder)
    run("go", "mod", "download", folder=folder)


def python(folder: Path) -> None:
    """A virtual environment of its own, with the tool's requirements.txt."""
    uv = str(Path(sys.executable).with_name("uv"))
    run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    requirements = str(HERE / folder.name / "requirements.txt")
    run(uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), "-r", requirements)


TOOLS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "jdbc": (jdbc, ("driver.py",)),
    "js": (js, ("package.json",)),
    "go": (go, ("go.mod", "go.sum")),
    "dbt": (python, ("requirements.txt",)),
    "superset": (python, ("requirements.txt",)),
}
"""How each tool is fetched, and the files here that say what is fetched."""


def fetch(name: str) -> None:
    """Fetch one tool, if what it asks for is not there yet."""
    make, files = TOOLS[name]
    wanted = hashlib.sha256(b"".join((HERE / name / file).read_bytes() for file in files)).hexdigest()
    folder = CACHE / name
    stamp = folder / ".fetched"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"Fetching {name} ...", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    stamp.write_text(wanted)


def main() -> None:
    lacking = missing()
    if lacking:
        sys.exit("\n".join(lacking))
    for name in TOOLS:
        fetch(name)


if __name__ == "__main__":
    main()
