"""The same statements through the real pipeline: real tokens, real merge engine, no department.

What clients ask at first touches no department; it must work while all of them are down.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import trino

from catalog.identity import GATEWAY_AUDIENCE, sign_token
from catalog.keys import SigningKey
from gateway.catalogue import UserView
from gateway.execution import Session
from gateway.pipeline import Gateway
from gateway.server.session import Options
from gateway.settings import GatewaySettings, IdentitySettings, Limits
from tests.protocol.conftest import Served, serve
from tests.protocol.stub import USERS, StubGateway
from tests.protocol.test_metadata import corpus

ISSUER = "http://idp.city"
KEY = SigningKey.generate()


class Catalogue:
    """The stub's relations, without asking any agent."""

    def __init__(self) -> None:
        self.stub = StubGateway()

    def view(self, session: Session, purposes: tuple[str, ...]) -> UserView:
        return self.stub.view(session)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("gateway")
    jwks = folder / "jwks.json"
    jwks.write_bytes(orjson.dumps({"keys": [{**KEY.public_jwk, "alg": "EdDSA", "use": "sig"}]}))
    identity = IdentitySettings(issuer=ISSUER, jwks=jwks, token_url=f"{ISSUER}/token")
    gateway = Gateway(GatewaySettings(state=folder, identity=identity, limits=Limits(memory_mb=256)))
    catalogue: Any = Catalogue()
    gateway.catalogue = catalogue
    with serve(gateway, Options(require_tls=False)) as served:
        yield served


def token(user: str) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": user, "aud": GATEWAY_AUDIENCE, "iat": now, "nbf": now, "exp": now + 3600}
    return sign_token(KEY, {**claims, "jti": f"{user}-{now}", "purposes": list(USERS[user])})


@pytest.fixture
def cursor(real: Served) -> Iterator[Any]:
    with connected(real, "lin") as connection:
        yield connection.cursor()


def connected(real: Served, user: str, **more: Any) -> Any:
    return trino.dbapi.connect(
        host="127.0.0.1",
        port=real.port,
        http_scheme="http",
        http_headers={"Authorization": f"Bearer {token(user)}"},
        user=user,
        catalog="water",
        schema="main",
        **more,
    )


@pytest.mark.parametrize(("sql", "count"), corpus())
def test_the_corpus_is_answered_without_any_department(cursor: Any, sql: str, count: int) -> None:
    cursor.execute(sql)
    assert len(cursor.fetchall()) == count


def test_hidden_columns_stay_out_of_star(cursor: Any) -> None:
    cursor.execute("SELECT * FROM information_schema.columns LIMIT 1")
    cursor.fetchall()
    assert [d[0] for d in cursor.description][-1] == "data_type"


def test_prepared_statements_are_described(cursor: Any) -> None:
    cursor.execute("PREPARE p FROM SELECT m3 AS Volume, sum(meters) FROM company_month WHERE org_no = ? GROUP BY 1")
    cursor.fetchall()
    cursor.execute("DESCRIBE OUTPUT p")
    assert [(row[0], row[4], row[6]) for row in cursor.fetchall()] == [
        ("Volume", "decimal(14,3)", True),
        ("_col1", "bigint", False),
    ]


@pytest.mark.parametrize("sql", ["SHOW TABLES FROM water.nowhere", "SHOW COLUMNS FROM water.main.nowhere"])
def test_what_is_described_or_explained_must_exist(cursor: Any, sql: str) -> None:
    for options in ("", "(TYPE IO, FORMAT JSON) ", "(TYPE VALIDATE) "):
        with pytest.raises(trino.exceptions.TrinoUserError, match="nowhere"):
            cursor.execute(f"EXPLAIN {options}{sql}")
    cursor.execute(f"PREPARE p FROM {sql}")
    cursor.fetchall()
    with pytest.raises(trino.exceptions.TrinoUserError, match="nowhere"):
        cursor.execute("DESCRIBE OUTPUT p")


def test_explain_io_names_the_tables_with_published_figures_alone(cursor: Any) -> None:
    """What Superset asks for the cost of a query."""
    sql = "SELECT count(*) FROM water.main.company_month JOIN tax.main.firm ON firm.org_no = company_month.org_no"
    cursor.execute(f"EXPLAIN (TYPE IO, FORMAT JSON) {sql}")
    found = json.loads(cursor.fetchone()[0])
    rows = {t["table"]["schemaTable"]["table"]: t["estimate"]["outputRowCount"] for t in found["inputTableColumnInfos"]}
    assert rows == {"company_month": 100.0, "firm": "NaN"}
    assert found["estimate"]["outputRowCount"] == "NaN"


def test_with_several_purposes_one_must_be_chosen(real: Served) -> None:
    with connected(real, "ana") as connection:
        cursor = connection.cursor()
        with pytest.raises(trino.exceptions.TrinoUserError, match="several purposes"):
            cursor.execute("SELECT 1")
        cursor.execute("SET SESSION purpose = 'audit'")
        cursor.fetchall()
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [[1]]
    with connected(real, "ana", client_tags=["purpose:audit"]) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [[1]]


def test_a_purpose_that_is_not_mine_is_refused_at_once(cursor: Any) -> None:
    with pytest.raises(trino.exceptions.TrinoUserError, match="not among yours"):
        cursor.execute("SET SESSION purpose = 'audit'")


def test_a_query_that_needs_a_department_fails_naming_it(cursor: Any) -> None:
    with pytest.raises(trino.exceptions.TrinoQueryError, match="water"):
        cursor.execute("SELECT org_no FROM company_month")
