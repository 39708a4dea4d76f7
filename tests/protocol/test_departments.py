"""From the client to the departments: a cancel, a slow reader and a dead client reach each of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pytest

from catalog.identity import GATEWAY_AUDIENCE, TokenVerifier
from gateway import waiting as waiting_batches
from gateway.dispatch import Agents
from gateway.pipeline import Gateway
from gateway.server.session import Options
from gateway.settings import DepartmentEntry, GatewaySettings, IdentitySettings, Limits
from tests.gateway.evil import SCHEMA, Evil, serving, stream
from tests.protocol.conftest import Served, serve
from tests.protocol.test_abuse import eventually
from tests.protocol.test_lifecycle import run, submit
from tests.protocol.test_pipeline import ISSUER, KEY, Catalogue, token

BOTH = "SELECT count(*) FROM water.main.big UNION ALL SELECT count(*) FROM tax.main.firm"


@dataclass
class City:
    """A gateway, its two departments, and somebody who asks."""

    served: Served
    water: Evil
    tax: Evil
    client: httpx.Client

    def stopped(self) -> bool:
        return len(self.water.stopped) == 1 and len(self.tax.stopped) == 1


def silent(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
    """Sends the schema, and no row before it is released."""
    send(SCHEMA.serialize().to_pybytes())
    evil.release.wait(30)


@contextmanager
def city(
    folder: Path, monkeypatch: pytest.MonkeyPatch, behave: Any, options: Options, token_url: str = f"{ISSUER}/token"
) -> Iterator[City]:
    monkeypatch.setattr(Agents, "token", lambda *_: "token")
    jwks = folder / "jwks.json"
    jwks.write_bytes(orjson.dumps({"keys": [{**KEY.public_jwk, "alg": "EdDSA", "use": "sig"}]}))
    water, tax = Evil(behave), Evil(behave)
    with serving(water) as water_url, serving(tax) as tax_url:
        gateway = Gateway(
            GatewaySettings(
                state=folder,
                identity=IdentitySettings(issuer=ISSUER, jwks=jwks, token_url=token_url),
                limits=Limits(memory_mb=256),
                departments={
                    "water": DepartmentEntry(url=water_url, key=water.key.public_jwk),
                    "tax": DepartmentEntry(url=tax_url, key=tax.key.public_jwk),
                },
            )
        )
        gateway.verifier = TokenVerifier(ISSUER, GATEWAY_AUDIENCE, jwks)
        catalogue: Any = Catalogue()
        gateway.catalogue = catalogue
        with (
            serve(gateway, options) as served,
            httpx.Client(
                base_url=served.url, headers={"Authorization": f"Bearer {token('lin')}"}, timeout=30
            ) as client,
        ):
            yield City(served, water, tax, client)


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[City, dict[str, Any]]]:
    """A statement that waits for both departments, and its page."""
    options = Options(require_tls=False, gone_seconds=0.5, sweep_seconds=0.1, poll_seconds=0.2)
    with city(tmp_path, monkeypatch, silent, options) as found:
        page = submit(found.client, BOTH)
        while not (found.water.asked and found.tax.asked):
            page = found.client.get(page["nextUri"]).json()
            assert "error" not in page, page["error"]["message"]
        yield found, page


def by_address(city: City, page: dict[str, Any]) -> None:
    assert city.client.delete(page["nextUri"]).status_code == 204


def by_name(city: City, page: dict[str, Any]) -> None:
    assert city.client.delete(f"/v1/query/{page['id']}").status_code == 204


def by_procedure(city: City, page: dict[str, Any]) -> None:
    _, last = run(city.client, f"CALL system.runtime.kill_query('{page['id']}', 'enough')")
    assert "error" not in last


def by_early_end(city: City, page: dict[str, Any]) -> None:
    while "partialCancelUri" not in page:
        page = city.client.get(page["nextUri"]).json()
    assert city.client.delete(page["partialCancelUri"]).status_code == 204


def by_death(city: City, page: dict[str, Any]) -> None:
    city.client.close()


@pytest.mark.parametrize("cancel", [by_address, by_name, by_procedure, by_death])
def test_every_way_to_cancel_reaches_every_department(
    waiting: tuple[City, dict[str, Any]], cancel: Callable[[City, dict[str, Any]], None]
) -> None:
    city, page = waiting
    cancel(city, page)
    assert eventually(city.stopped), (city.water.stopped, city.tax.stopped)
    execution = city.served.statements.conversations[page["id"]].execution
    assert {d.state for d in execution.departments()} <= {"cancelled", "down", "running"}


def test_stopping_early_reaches_the_department(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with city(tmp_path, monkeypatch, silent, Options(require_tls=False, poll_seconds=0.2)) as found:
        page = submit(found.client, "SELECT id FROM water.main.big")
        by_early_end(found, page)
        assert eventually(lambda: len(found.water.stopped) == 1)


def test_a_gateway_whose_identity_provider_is_down_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as provider:
        url = f"http://127.0.0.1:{provider.getsockname()[1]}/token"
        with city(tmp_path, monkeypatch, silent, Options(require_tls=False), url) as found:
            assert found.client.get("/readyz").text == "ready"
            provider.close()
            ready = found.client.get("/readyz")
            assert (ready.status_code, ready.text) == (503, "the identity provider does not answer")
            assert found.client.get("/healthz").status_code == 200


def test_a_slow_reader_stops_the_department(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the gateway fills up while nobody reads: the agent cannot write any more."""
    sent: list[int] = []
    batch = pa.record_batch([pa.array(range(100_000), pa.int64())], schema=SCHEMA).serialize().to_pybytes()

    def endless(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        send(SCHEMA.serialize().to_pybytes())
        while not evil.release.is_set():
            send(batch)
            sent.append(len(batch))

    with city(tmp_path, monkeypatch, endless, Options(require_tls=False)) as found:
        page = submit(found.client, "SELECT id FROM water.main.big")
        while "data" not in page:
            page = found.client.get(page["nextUri"]).json()
        before = -1

        def stands_still() -> bool:
            nonlocal before
            was, before = before, len(sent)
            threading.Event().wait(0.4)
            return was == len(sent)

        assert eventually(stands_still)
        assert sum(sent) < 60_000_000, "a page, a few batches in two queues, and what the sockets hold"
        again = found.client.get(page["nextUri"]).json()
        assert len(again["data"]) > 0
        assert eventually(lambda: len(sent) > before), "a read moves it on"
        found.client.delete(again["nextUri"])
        assert eventually(lambda: len(found.water.stopped) == 1)


def test_a_cancelled_statement_leaves_no_rows_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is kept as long as the statement is known; the rows that were on their way then are not."""
    batch = pa.record_batch([pa.array(range(100_000), pa.int64())], schema=SCHEMA).serialize().to_pybytes()

    def endless(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        send(SCHEMA.serialize().to_pybytes())
        while not evil.release.is_set():
            send(batch)

    with city(tmp_path, monkeypatch, endless, Options(require_tls=False)) as found:
        before = pa.total_allocated_bytes()
        page = submit(found.client, "SELECT id FROM water.main.big")
        while "data" not in page:
            page = found.client.get(page["nextUri"]).json()
        assert eventually(lambda: pa.total_allocated_bytes() > before + 2 * len(batch)), "rows wait for their reader"
        assert found.client.delete(page["nextUri"]).status_code == 204
        assert eventually(lambda: pa.total_allocated_bytes() <= before)
        assert page["id"] in found.served.statements.conversations


def test_a_client_that_looks_at_the_first_rows_for_long_gets_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The department is done meanwhile: it neither waits for the client nor leaves him."""
    monkeypatch.setattr(waiting_batches, "PATIENCE_SECONDS", 0.3)
    rows = list(range(4_000_000))
    done = threading.Event()

    def honest(evil: Evil, question: dict[str, Any], send: Callable[[bytes], None]) -> None:
        own = {"department": "water", "sub": "lin", "purpose": "planning"}
        receipt = evil.end(question, len(rows)).receipt
        assert receipt is not None
        for piece in stream(rows, evil.end(question, len(rows), receipt=receipt.model_copy(update=own)), 100_000):
            send(piece)
        done.set()

    with city(tmp_path, monkeypatch, honest, Options(require_tls=False)) as found:
        page = submit(found.client, "SELECT id FROM water.main.big")
        while "data" not in page:
            page = found.client.get(page["nextUri"]).json()
        assert done.wait(60), "the department's answer is read to its end"
        read = [row[0] for row in page["data"]]
        while "nextUri" in page:
            page = found.client.get(page["nextUri"]).json()
            read += [row[0] for row in page.get("data", [])]
        assert page["stats"]["state"] == "FINISHED", page
        assert read == rows
