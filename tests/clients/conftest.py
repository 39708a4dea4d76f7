"""What the suites of real Trino clients share: the running city, a door over TLS, tokens, and the table at the end.

`make test` collects the Python clients, the command line and one smoke test over JDBC; `make clients` sets
CLIENTS=all and collects every folder. A tool that is not installed is an error, never a skip.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from catalog.http import Client
from tests.city.live.running import City
from tests.clients.every_type import NAMES, SQL, arrays
from tests.clients.front import Front, tls_front
from tests.protocol.conftest import Served, cli, serve  # noqa: F401 - `cli`, the Trino command line, as a fixture
from tests.protocol.stub import StubGateway

FOLDER = Path(__file__).parent
ALL = "CLIENTS"
collect_ignore = (
    []
    if os.environ.get(ALL) == "all"
    else ["js", "go", "dbt", "superset", "jdbc/test_driver.py", "cli/test_formats_and_login.py"]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.city)


@pytest.fixture(scope="session")
def front(city: City, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The city's gateway over TLS."""
    with tls_front(city.url, tmp_path_factory.mktemp("front")) as opened:
        yield opened


@pytest.fixture(scope="session")
def token(city: City) -> Callable[[str], str]:
    """Makes a user's token, as the identity provider gives it out."""

    def made(user: str) -> str:
        with Client(timeout=20, trust_env=False) as http:
            answer = http.post(f"{city.state['issuer']}/dev-login", json={"user": user})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    return made


@pytest.fixture(scope="session")
def every_type() -> Iterator[Served]:
    """A gateway that answers `every_type.SQL` by one row of values and one of NULLs."""
    gateway = StubGateway()
    gateway.can(SQL, NAMES, [pa.array(values, kind) for values, kind in arrays()])
    with serve(gateway) as served:
        yield served


# -- the table -----------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """tool x checks, where the whole of the suites ran."""
    if os.environ.get(ALL) != "all":
        return
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for outcome, column in (("passed", 0), ("failed", 1), ("error", 1)):
        for report in terminalreporter.stats.get(outcome, ()):
            parts = Path(report.nodeid.split("::", 1)[0]).parts
            if parts[:2] == ("tests", "clients"):
                tool = parts[2] if len(parts) > 3 else "all"
                name = Path(parts[-1]).stem.removeprefix("test_")
                counts[f"{tool}/{name}"][column] += 1
    terminalreporter.write_line("")
    terminalreporter.write_line(f"{'client':<28}{'checks':>8}{'failed':>8}")
    for tool, (passed, failed) in sorted(counts.items()):
        terminalreporter.write_line(f"{tool:<28}{passed + failed:>8}{failed:>8}", red=bool(failed))
    total = [sum(c[i] for c in counts.values()) for i in (0, 1)]
    terminalreporter.write_line(f"{'all':<28}{sum(total):>8}{total[1]:>8}", bold=True)
