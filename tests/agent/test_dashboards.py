"""Dashboards are answered: of three hundred questions that nobody asks to single anybody out, hardly one is refused.

The questions (`dashboards.yaml`) go over the city's relations that give sums alone, and over a register of firms. They
are asked as dashboards load, from the top to the end, each relation's by one agent's guard. A question is answered
where at least one of its cells is given, or none has enough people.

The quick suite asks four relations; `make attack` asks all, and once in no order.
"""

from __future__ import annotations

import importlib
import itertools
import os
import random
import re
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.city.base import Config
from atoll.city.departments import install
from catalog import masks, policy
from catalog.errors import AccessDenied
from catalog.identity import Principal
from connectors.agent import aggregate
from connectors.agent.admit import admit
from connectors.agent.authorise import Access
from connectors.agent.disclosure import Guard, Question
from connectors.agent.execute import Engine, connect, trusted_table
from connectors.base import Cancel
from connectors.sources import open_source, parse_source
from tests.agent.house import House
from tests.city.silos import EMBEDDED

WHOLE = bool(os.environ.get("ATTACK"))
QUICK = ("register.firm", "environment.discharge", "environment.waste", "market.sales_invoice")
NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)
LIST = yaml.safe_load((Path(__file__).parent / "dashboards.yaml").read_text(encoding="utf-8"))
ASKED = tuple(LIST["relations"]) if WHOLE else QUICK
FIRM = {"org": "varchar", "district": "varchar", "sector": "varchar", "form": "varchar", "size": "varchar",
        "founded": "integer", "staff": "bigint", "turnover": "bigint"}  # fmt: skip
SUMS = {"id": "firms", "relation": "firm", "purposes": ["statistics"], "mode": "aggregate", "min_group": 5,
        "entity": "org", "dimensions": ["district", "sector", "form", "size", "founded"],
        "measures": ["staff", "turnover"]}  # fmt: skip


def questions(relation: str) -> list[str]:
    """The relation's questions as fragments, each panel for every value of what it leaves open."""
    found = []
    for panel in LIST["relations"][relation]["panels"]:
        names = list(dict.fromkeys(re.findall(r"{(\w+)}", panel)))
        for values in itertools.product(*(LIST["values"][n] for n in names)):
            text = panel.format(**dict(zip(names, values, strict=True)))
            where = re.search(r" (WHERE|GROUP) ", text)
            at = where.start() if where else len(text)
            found.append(f"SELECT {text[:at]} FROM {relation.split('.')[1]}{text[at:]}")
    return found


def firms() -> list[tuple[Any, ...]]:
    """Uneven in every way: most are small, of the common sectors and forms, and one in a hundred is large."""
    rng = random.Random(7)
    values = LIST["values"]
    plain = {n: [v.strip("'") for v in values[n]] for n in ("district", "sector", "form", "size")}
    rows = []
    for i in range(20_000):
        size = rng.choices(plain["size"], [80, 14, 5, 1])[0]
        staff = int(rng.lognormvariate(1 + 1.5 * plain["size"].index(size), 0.5)) + 1
        rows.append((
            f"o{i}", rng.choices(plain["district"], [30, 25, 20, 12, 8, 5])[0],
            rng.choices(plain["sector"], [5, 15, 12, 35, 8, 25])[0],
            rng.choices(plain["form"], [60, 4, 6, 30])[0], size, rng.choices(range(2010, 2020), range(5, 15))[0], staff,
            int(staff * rng.lognormvariate(10, 1)),
        ))  # fmt: skip
    return rows


class Desk:
    """One relation as its dashboard's people may see it, read once, and its agent's guard."""

    def __init__(self, path: Path, relation: str, guard: Guard) -> None:
        wanted = LIST["relations"][relation]
        department = policy.load(path)
        name = relation.split(".")[1]
        spec = department.relations[name]
        principal = Principal(wanted["user"], wanted["purpose"], (wanted["purpose"],), "jti", 0)
        self.relation = Access(department, masks.Context(_no_linkage, {}), principal, NOW).named(name)
        self.department, self.guard = department.department, guard
        source = open_source(parse_source(department.sources[spec.source]), path.parent, path.parent / "private" / name)
        texts = [(path.parent / v) for v in policy.view_files(department, name)] if spec.view else []
        text = next((t.read_text(encoding="utf-8").strip().rstrip(";") for t in texts if t.is_file()), "")
        family = aggregate.family(department, self.relation)
        scan, sql = aggregate.contribution_scan(self.relation, family, source.capabilities(), text, "dashboard")
        engines = path.parent / "engines" / name
        table, _ = trusted_table(scan, source, Cancel(), Engine(connect(256, engines)), sql)
        source.close()
        self.all = aggregate.Contributions(self.relation, family, table, Engine(connect(256, engines)), b"secret")

    def ask(self, sql: str) -> bool:
        """Whether it is answered."""
        shape = aggregate.read_shape(admit(sql).tree, self.relation, self.department)
        cells = self.all.cells(shape)

        def answer(chosen: Question | None = None) -> aggregate.Cells:
            return aggregate.release(
                shape, cells, self.relation.decision.public.get, None if chosen is None else chosen.cells
            )

        found = answer()
        try:
            self.guard.release(self.all.ask(shape, NOW, found, answer))
        except AccessDenied:
            return False
        return True


def _no_linkage(group: str) -> masks.LinkageKey:
    raise masks.MaskError(f"no dashboard shows a pseudonym of {group}")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Department -> its department.yaml, over a small city's data."""
    root = tmp_path_factory.mktemp("dashboards")
    config = Config()
    found = {}
    for name, source in EMBEDDED.items():
        if not any(relation.startswith(f"{name}.") for relation in ASKED):
            continue
        importlib.import_module(f"atoll.city.{name}").write(config, root)
        found[name] = install(name, root / name, source=source, years=list(config.year_list))
    house = House(
        root / "register", {"department": "register", "relations": {"firm": {"table": "firm", "columns": FIRM}},
                            "grants": [SUMS]},
        {"firm": (", ".join(f"{n} {'TEXT' if t == 'varchar' else 'INTEGER'}" for n, t in FIRM.items()), firms())},
    )  # fmt: skip
    return {**found, "register": house.path}


def test_the_list_has_three_hundred_questions() -> None:
    assert sum(len(set(questions(r))) for r in LIST["relations"]) == 300


@pytest.mark.parametrize("shuffled", [False, True] if WHOLE else [False], ids=["as listed", "in no order"][: 1 + WHOLE])
def test_hardly_a_question_of_a_dashboard_is_refused(places: dict[str, Path], tmp_path: Path, shuffled: bool) -> None:
    refused, asked = [], 0
    for relation in ASKED:
        with ExitStack() as stack:
            guard = Guard(tmp_path / f"{relation}.db", "dashboards")
            stack.callback(guard.close)
            desk = Desk(places[relation.split(".")[0]], relation, guard)
            stack.enter_context(desk.all)
            listed = questions(relation)
            if shuffled:
                random.Random(2).shuffle(listed)
            for sql in listed:
                asked += 1
                if not desk.ask(sql):
                    refused.append(sql)
    assert asked == 300 or not WHOLE
    # What is asked first decides: totals before their parts leave more to be told.
    assert len(refused) * 100 <= 300 * (4 if shuffled else 1), refused
