"""The department that is attacked: its rows, its canaries, its policy, and what each user may see of it.

Every value that nobody may see is a canary: a text or number that occurs nowhere else. Rows lie in the silo in
the order of a masked column, so that anything which follows the silo's order shows.

    open_world(kinds)    an identity provider, one agent per kind of silo on a port of its own, and a gateway

Users: lin works for mass-balance, bi and tao for statistics, mei for both, kim for statistics and planning, wu and luo
verify, zhao audits, sun holds nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn

from atoll.demo.idp import IdentityProvider, prepare, register_client
from atoll.demo.idp import create_app as create_idp
from catalog.keys import SigningKey
from catalog.keys import load as load_key
from catalog.types import parse
from connectors.agent.server import create_app
from connectors.agent.service import Agent
from gateway.pipeline import Gateway
from gateway.server.app import create_app as create_gateway
from gateway.settings import DepartmentEntry, GatewaySettings, IdentitySettings
from tests.agent.house import House
from tests.masks_first.oracle import Oracle
from tests.masks_first.people import Copy, Row, materialise
from tests.masks_first.silos import KINDS, Data, open_department
from tests.servers import free_port

__all__ = [
    "CANARIES",
    "KINDS",
    "POLICY",
    "USERS",
    "Department",
    "World",
    "open_world",
    "oracle_of",
    "running_gateway",
    "served",
]

USERS: dict[str, tuple[str, ...]] = {
    "lin": ("mass-balance",),
    "bi": ("statistics",),
    "mei": ("mass-balance", "statistics"),
    "wu": ("benefit-eligibility",),
    "zhao": ("audit",),
    "ana": ("mass-balance",),
    "sun": (),
    "tao": ("statistics",),
    "kim": ("planning", "statistics"),
    "luo": ("benefit-eligibility",),
}
PURPOSES = ["mass-balance", "statistics", "benefit-eligibility", "audit", "planning"]

PEOPLE = {
    name: parse(text)
    for name, text in {
        "id": "bigint", "kind": "varchar", "grade": "integer", "district": "varchar", "code": "varchar",
        "doc": "varchar", "name": "varchar", "phone": "varchar", "mail": "varchar", "org": "varchar(18)",
        "ssn": "varchar", "born": "date", "seen": "timestamp(3)", "income": "bigint", "debt": "decimal(12,2)",
        "icd": "varchar", "note": "varchar", "faith": "varchar", "age": "integer", "hidden": "integer",
    }.items()
}  # fmt: skip
MASKS = {
    "name": "keep_first(1)", "phone": "keep_last(3, fixed)", "mail": "email", "org": "pseudonym(city)", "ssn": "deny",
    "born": "date(year)", "seen": "date(month)", "income": "number(1000000000000)", "debt": "number(100)",
    "icd": "hierarchy(icd, 1)", "note": "constant(withheld)", "faith": "null", "age": "top_code(90)",
}  # fmt: skip
FILTER = "hidden = 0"


def _person(
    number: int, kind: str, grade: int | None, district: str, name: str, born: date, income: int, debt: str,
    icd: str | None, faith: str | None, age: int | None,
) -> Row:  # fmt: skip
    first = name.partition("-")[0].lower()
    tail = name.partition("-")[2]
    return (
        number, kind, grade, district, str(number * 10), f'{{"n": {number}}}', name, f"+86138{tail[:4]}{number:03d}",
        f"{first}.{tail}@hailan.cn", f"91{tail.upper()[:8]}", f"SSN-{tail[::-1]}-{number:02d}", born,
        datetime(2024, 1 + number % 3, 9, 7, 11, number, 123000), income, Decimal(debt), icd, f"secret note {tail}",
        faith, age, 0,
    )  # fmt: skip


# In the order of `income`: ids say nothing of it.
_VISIBLE = [
    _person(7, "C", 2, "north", "Ana-Vq8ZpLw3Kt", date(1958, 3, 14), 3141592653581, "120.55", "J45", "Order of the Sea-Kq7", 41),  # noqa: E501
    _person(3, "H", 1, "south", "Bo-Rm5XcNj9Ds", date(1958, 11, 2), 3141592653602, "180.10", "J46", None, 97),
    _person(9, "C", 3, "north", "Chen-Wt2KgHy6Pb", date(1971, 6, 30), 3141592653715, "99.99", "I21", "Sky Temple-Xv3Zm8", 64),  # noqa: E501
    _person(1, "C", None, "east", "Duan-Lz4QvSf7Mx", date(1971, 1, 5), 3141592653826, "450.00", None, None, 18),
    _person(5, "H", 2, "north", "Ana-Yh9TbRk2Jw", date(1984, 9, 9), 3141592653937, "451.25", "J45", None, 104),
    _person(8, "C", 2, "south", "Élan-Gd6NsVc8Qp", date(1984, 2, 29), 4271828182845, "-20.05", "T67", "Sky Temple-Xv3Zm8", None),  # noqa: E501
    _person(2, "H", 5, "west", "Feng-Bx3MwZt5Lr", date(1990, 12, 31), 4271828182956, "0.01", "Z99", None, 33),
    _person(6, "C", 4, "east", "Gao-Jk7PfCn4Hv", date(1990, 7, 17), 5161803398874, "77.70", "J45", None, 90),
    _person(4, "C", 1, "north", "He-Ts8DyQm2Xg", date(2001, 4, 23), 5161803398985, "310.31", "I21", None, 91),
]  # fmt: skip


def _poison(number: int, district: str, code: str, doc: str, income: int) -> Row:
    """A row that the filter hides, and that breaks whatever touches it: no number, no JSON, grade 0."""
    row = list(
        _person(number, "H", 0, district, f"Xi-{code[:10]}", date(1933, 3, 3), income, "666.66", "J45", None, 50)
    )
    row[4], row[5], row[-1] = code, doc, 1
    return tuple(row)


_HIDDEN = [
    _poison(11, "hidden-Wp9MqBx4T", "Nn7RzKc5Vj8L", "{broken-Hf6TgYw3Sd", 1414213562373),
    _poison(12, "hidden-Zk2LvNs8C", "Dq4WxJm9Pt6B", "{broken-Cx8BnKl5Rv", 1732050807568),
    _poison(13, "hidden-Fj5HyRd7G", "Tb3GsQz6Mh9X", "{broken-Mw2ZpJt9Lq", 9876543219876),
]  # fmt: skip
PEOPLE_ROWS: list[Row] = [_HIDDEN[0], *_VISIBLE[:4], _HIDDEN[1], *_VISIBLE[4:], _HIDDEN[2]]

FIRMS = {n: parse(t) for n, t in {"org": "varchar(18)", "title": "varchar", "staff": "integer"}.items()}
FIRM_MASKS = {"org": "pseudonym(city)"}
FIRM_ROWS: list[Row] = [
    ("91VQ8ZPLW3", "Alpha", 12), ("91RM5XCNJ9", "Beta", 7), ("91WT2KGHY6", "Gamma", 30), ("91QQQQQQQQ", "Delta", 1),
]  # fmt: skip

PLACES = {n: parse(t) for n, t in {"name": "varchar", "n": "bigint", "area": "decimal(8,2)"}.items()}
PLACE_ROWS: list[Row] = [
    ("north", 4, Decimal("12.50")), ("south", 2, Decimal("8.00")), ("east", 0, Decimal("0.25")),
    ("west", None, Decimal("100.00")), (None, 9, None),
]  # fmt: skip

WAGES = {
    n: parse(t)
    for n, t in {
        "person": "varchar", "district": "varchar", "grade": "integer", "pay": "bigint", "hidden": "integer",
    }.items()
}  # fmt: skip


def _wages() -> list[Row]:
    rows: list[Row] = []
    for district, people, lines in (("north", 6, 2), ("south", 4, 3), ("east", 2, 9), ("west", 1, 1)):
        for p in range(people):
            rows += [(f"wage-{district[0]}Qz7Kx9Lm{p}", district, 1 + p % 2, 100 + 10 * p + i, 0) for i in range(lines)]
    return [*rows, ("wage-hidden-Jt5Rw8", "north", 1, 7777777777777, 1)]


WAGE_ROWS = _wages()
FLOOR = 3

REGISTER = {n: parse(t) for n, t in {"number": "varchar", "reason": "varchar", "hidden": "integer"}.items()}
REGISTER_ROWS: list[Row] = [
    ("REG-2024-0001", "reason-Kp4Zt9Wm", 0), ("REG-2024-0002", "reason-Lx6Qv3Nb", 0),
    ("REG-2024-0666", "reason-Hs8Jd2Gf", 1),
]  # fmt: skip
SALARY = {n: parse(t) for n, t in {"id": "bigint", "amount": "bigint", "owner": "varchar"}.items()}
SALARY_ROWS: list[Row] = [(1, 8080808080801, "salary-Bn5Mv7Cx"), (2, 8080808080802, "salary-Zq9Ws2Ed")]

DATA: Data = {
    "people": (PEOPLE, PEOPLE_ROWS),
    "firms": (FIRMS, FIRM_ROWS),
    "places": (PLACES, PLACE_ROWS),
    "wages": (WAGES, WAGE_ROWS),
    "register": (REGISTER, REGISTER_ROWS),
    "salary": (SALARY, SALARY_ROWS),
}
_SALARY = {"id": "bigint", "amount": "bigint", "owner": "varchar"}
_PLACES = {"name": "varchar", "n": "bigint", "area": "decimal(8,2)"}
MB = {"purposes": ["mass-balance"], "mode": "masked"}
POLICY: dict[str, Any] = {
    "department": "dept",
    "title": "The attacked",
    "purposes": PURPOSES,
    "linkage_groups": {"city": {"root": "file:root.hex", "normaliser": "company"}},
    "hierarchies": {"icd": "icd.csv"},
    "relations": {
        "people": {"table": "people", "columns": {n: str(t) for n, t in PEOPLE.items() if n != "hidden"}},
        "firms": {"table": "firms", "columns": {n: str(t) for n, t in FIRMS.items()}},
        "places": {"table": "places", "columns": _PLACES},
        "wages": {"table": "wages", "columns": {n: str(t) for n, t in WAGES.items() if n != "hidden"}},
        "register": {"table": "register",
                     "columns": {"number": {"type": "varchar", "concept": "code"}, "reason": "varchar"}},
        "salary": {"table": "salary", "columns": _SALARY},
        "outline": {"table": "salary", "columns": _SALARY},
        "expired": {"table": "salary", "columns": _SALARY},
        "future": {"table": "salary", "columns": _SALARY},
        "withdrawn": {"table": "salary", "columns": _SALARY},
        "personal": {"table": "salary", "columns": _SALARY},
        "figures": {"table": "salary", "columns": _SALARY},
        "narrow": {"table": "people", "columns": {n: str(t) for n, t in PEOPLE.items() if n != "hidden"}},
        "twice": {"table": "people", "columns": {n: str(t) for n, t in PEOPLE.items() if n != "hidden"}},
    },
    "grants": [
        {"id": "people", "relation": "people", **MB, "masks": MASKS, "row_filter": FILTER},
        {"id": "firms", "relation": "firms", **MB, "masks": FIRM_MASKS},
        {"id": "places", "relation": "places", **MB},
        {"id": "wages", "relation": "wages", "purposes": ["statistics"], "mode": "aggregate", "min_group": FLOOR,
         "entity": "person", "dimensions": ["district", "grade"], "measures": ["pay"], "row_filter": FILTER},
        {"id": "register", "relation": "register", "purposes": ["benefit-eligibility"], "mode": "verify",
         "key": "number", "per_day": 100000, "per_subject": 100000, "row_filter": FILTER},
        {"id": "salary", "relation": "salary", "purposes": ["audit"], "mode": "masked", "users": ["zhao"],
         "masks": {"owner": "null"}},
        {"id": "outline", "relation": "outline", "purposes": ["mass-balance"], "mode": "schema"},
        {"id": "expired", "relation": "expired", **MB, "until": "2020-01-01"},
        {"id": "future", "relation": "future", **MB, "from": "2090-01-01"},
        {"id": "withdrawn", "relation": "withdrawn", **MB},
        {"id": "withdrawn-no", "relation": "withdrawn", "purposes": ["mass-balance"], "mode": "none"},
        {"id": "personal", "relation": "personal", **MB, "users": ["ana"], "masks": {"owner": "null"}},
        {"id": "figures", "relation": "figures", "purposes": ["statistics"], "mode": "masked",
         "masks": {"owner": "null", "amount": "null"}},
        {"id": "narrow", "relation": "narrow", **MB, "columns": ["id", "kind", "born"], "masks": {"born": "deny"},
         "row_filter": FILTER},
        {"id": "twice-1", "relation": "twice", **MB, "columns": ["id", "born", "name", "age"],
         "masks": {"born": "date(year)", "name": "keep_first(1)", "age": "number(7)"}, "row_filter": FILTER},
        {"id": "twice-2", "relation": "twice", **MB, "columns": ["id", "born", "name", "age", "ssn"],
         "masks": {"born": "date(month)", "name": "null", "age": "number(10)", "ssn": "deny"},
         "row_filter": "kind = 'C'"},
    ],
}  # fmt: skip


def _canaries() -> list[str]:
    """Every raw value that no user of mass-balance, statistics or benefit-eligibility may see."""
    names = list(PEOPLE)
    found: set[str] = set()
    for row in PEOPLE_ROWS:
        values = dict(zip(names, row, strict=True))
        found |= {str(values[n]) for n in ("name", "phone", "mail", "org", "ssn", "income", "note")}
        found.add(str(values["seen"])[:23])
        if values["faith"]:
            found.add(values["faith"])
    for row in _HIDDEN:
        found |= {str(row[i]) for i in (3, 4, 5)}
    found |= {row[0] for row in FIRM_ROWS}
    found |= {row[0] for row in WAGE_ROWS} | {"7777777777777"}
    found |= {row[1] for row in REGISTER_ROWS}
    found |= {row[2] for row in SALARY_ROWS} | {str(row[1]) for row in SALARY_ROWS}
    return sorted(found)


CANARIES = _canaries()


def oracle_of(department: str = "dept") -> Oracle:
    """M(R) of the rows that lin may see, copied into an empty database, under a department's name."""
    copies: dict[str, Copy] = {
        "people": materialise(PEOPLE_ROWS, PEOPLE, MASKS, lambda r: r[-1] == 0),
        "firms": materialise(FIRM_ROWS, FIRMS, FIRM_MASKS, lambda r: True),
        "places": materialise(PLACE_ROWS, PLACES, {}, lambda r: True),
    }
    narrow = {n: "deny" for n in PEOPLE if n not in ("id", "kind")}
    copies["narrow"] = materialise(PEOPLE_ROWS, PEOPLE, narrow, lambda r: r[-1] == 0)
    # Two masks that do not compare are `null` together; `null` is stricter than any that shows something.
    both = {n: "deny" for n in PEOPLE if n not in ("id", "born", "name", "age")}
    both |= {"born": "date(year)", "name": "null", "age": "null"}
    copies["twice"] = materialise(PEOPLE_ROWS, PEOPLE, both, lambda r: r[-1] == 0 and r[1] == "C")
    return Oracle({f"{department}.main.{name}": copy for name, copy in copies.items()})


# ---- a running world -----------------------------------------------------------------------------------


@dataclass
class Department:
    """One agent on a port of its own, over one kind of silo. name: its catalog."""

    name: str
    kind: str
    house: House
    agent: Agent
    url: str


@dataclass
class World:
    """Agents by kind, the keys of the identity provider and of the gateway, and the gateway's address."""

    folder: Path
    issuer: str
    idp: SigningKey
    provider: IdentityProvider
    gateway_key: SigningKey
    departments: dict[str, Department] = field(default_factory=dict)
    gateway_url: str = ""

    def password(self, user: str) -> str:
        """What a user types; the provider wrote it when it made its users."""
        return str(orjson.loads((self.folder / "idp" / "passwords.json").read_bytes())[user])


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[str]:
    """The application on a real port of loopback."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    socket = server.config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


NAMES = {"sqlite": "dept", "postgres": "pgsql", "mariadb": "maria", "files": "files", "rest": "rest"}


@contextmanager
def open_world(
    folder: Path,
    request: pytest.FixtureRequest,
    kinds: Sequence[str] = ("sqlite",),
    gateway: bool = True,
    data: Data = DATA,
    policy: Mapping[str, Any] = POLICY,
) -> Iterator[World]:
    """Start everything, without the door that knows no passwords; stopped at the end of the block.

    data, policy: of every department.
    """
    idp_folder = folder / "idp"
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        prepare(idp_folder, USERS)
        provider = IdentityProvider(idp_folder, issuer)
        stack.enter_context(served(create_idp(provider, dev_login=False), port))
        world = World(folder, issuer, load_key(idp_folder / "idp.jwk"), provider, SigningKey.generate())
        identity = {"issuer": issuer, "jwks": "file:../idp/jwks.json"}
        for kind in kinds:
            own = {**policy, "department": NAMES[kind], "identity": identity}
            opened = stack.enter_context(open_department(kind, folder / kind, request, data, own))
            url = stack.enter_context(served(create_app(opened.agent)))
            world.departments[kind] = Department(NAMES[kind], kind, opened.house, opened.agent, url)
        if gateway:
            world.gateway_url = stack.enter_context(served(create_gateway(running_gateway(world, stack))))
        yield world


def running_gateway(world: World, stack: ExitStack) -> Gateway:
    """A gateway that knows the world's departments, and that its identity provider knows; closed with the stack."""
    entries = {
        d.name: DepartmentEntry(url=d.url, title=d.name, key=d.agent.receipt_jwk()) for d in world.departments.values()
    }
    settings = GatewaySettings(
        state=world.folder / "gateway",
        identity=IdentitySettings(
            issuer=world.issuer, jwks=world.folder / "idp" / "jwks.json", token_url=f"{world.issuer}/token"
        ),
        departments=entries,
    )
    running = Gateway(settings)
    stack.callback(running.close)
    world.gateway_key = load_key(settings.state / "gateway.jwk")
    register_client(world.folder / "idp", "gateway", world.gateway_key.public_jwk)
    return running
