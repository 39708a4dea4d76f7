"""What people ask all day, beside the same peers: look-ups, selective joins, roll-ups, an export, a dashboard.

    u0  SELECT 1                                u5  export of a million rows x 16 columns
    u1  one order and its customer, by key      u6  dashboard: 8 clients at once, small questions
    u2  selective join over three departments   u7  stock beside shipments, by brand
    u3  the 20 dearest orders                   u8  200 customers by their ids
    u4  roll-up by nation and year

Values differ from question to question, so that nothing is answered out of a cache of answers.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.table import Table

__all__ = ["GOALS", "Ask", "Goal", "Measured", "Place", "Question", "ask_all", "means", "questions", "report"]

CLIENTS = 8
LOOK_UPS = 40
"""Look-ups of each side in a round."""
DASHBOARD = 16
"""Questions of each client in a round."""
SLACK = 0.015
"""Seconds that a single question may take longer than the better peer, beyond a tenth."""

Place = Callable[[str], str]
"""Table -> what stands for it."""


@dataclass(frozen=True)
class Question:
    """text(place, dice): its text, with values of its own. times: in a round. clients: at once. whole: its answer is so
    large that nobody looks at its rows."""

    name: str
    title: str
    text: Callable[[Place, random.Random], str]
    times: int = 1
    clients: int = 1
    whole: bool = False


@dataclass
class Measured:
    """Seconds of each question on one side; span: of all of a round's questions together. rows, bytes: crossed.

    memory: megabytes of the gateway, over idle. told: of an explained question, the seconds that its parts add up to,
    and all of them.
    """

    seconds: list[float] = field(default_factory=list)
    spans: list[float] = field(default_factory=list)
    asked: int = 0
    rows: int = 0
    bytes: int = 0
    memory: float = 0.0
    told: tuple[float, float] = (0.0, 0.0)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]

    @property
    def per_second(self) -> float:
        return self.asked / sum(self.spans)


# ---- the questions


def _order(dice: random.Random, scale: float) -> int:
    """A key that is there: of each 32 numbers TPC-H uses the first 7."""
    return dice.randrange(int(46_875 * scale)) * 32 + dice.randrange(1, 8)


def questions(scale: float) -> list[Question]:
    """u0 .. u8 at a scale."""

    def look_up(t: Place, dice: random.Random) -> str:
        return (
            f"SELECT c_name, c_acctbal, o_orderkey, o_totalprice, o_orderdate FROM {t('orders')} "
            f"JOIN {t('customer')} ON c_custkey = o_custkey WHERE o_orderkey = {_order(dice, scale)}"
        )

    def selective(t: Place, dice: random.Random) -> str:
        brand = f"Brand#{dice.randrange(1, 6)}{dice.randrange(1, 6)}"
        return (
            f"SELECT c_name, o_orderkey, p_name, sum(l_quantity) AS quantity FROM {t('customer')}, {t('orders')}, "
            f"{t('lineitem')}, {t('part')} WHERE c_custkey = o_custkey AND o_orderkey = l_orderkey "
            f"AND p_partkey = l_partkey AND p_brand = '{brand}' AND p_container = 'JUMBO BOX' AND p_size < 10 "
            "AND c_mktsegment = 'MACHINERY' GROUP BY c_name, o_orderkey, p_name"
        )

    def dearest(t: Place, dice: random.Random) -> str:
        day = f"{dice.randrange(1992, 1996)}-0{dice.randrange(1, 10)}-01"
        return (
            f"SELECT o_orderkey, o_totalprice, c_name FROM {t('orders')} JOIN {t('customer')} ON c_custkey = o_custkey "
            f"WHERE o_orderdate >= DATE '{day}' ORDER BY o_totalprice DESC, o_orderkey LIMIT 20"
        )

    def roll_up(t: Place, dice: random.Random) -> str:
        return (
            f"SELECT n_name, year(o_orderdate) AS y, count(*) AS n, sum(o_totalprice) AS total FROM {t('orders')} "
            f"JOIN {t('customer')} ON c_custkey = o_custkey JOIN {t('nation')} ON n_nationkey = c_nationkey "
            f"WHERE o_orderdate >= DATE '199{dice.randrange(2, 5)}-01-01' GROUP BY n_name, year(o_orderdate)"
        )

    def balance(t: Place, dice: random.Random) -> str:
        day = f"199{dice.randrange(3, 7)}-01-01"
        return (
            f"SELECT p_brand, sum(stock) AS stock, sum(shipped) AS shipped FROM {t('part')} "
            f"JOIN (SELECT ps_partkey, sum(ps_availqty) AS stock FROM {t('partsupp')} GROUP BY ps_partkey) AS s "
            "ON s.ps_partkey = p_partkey "
            f"JOIN (SELECT l_partkey, sum(l_quantity) AS shipped FROM {t('lineitem')} "
            f"WHERE l_shipdate >= DATE '{day}' GROUP BY l_partkey) AS l ON l.l_partkey = p_partkey GROUP BY p_brand"
        )

    def listed(t: Place, dice: random.Random) -> str:
        ids = ", ".join(str(i) for i in sorted(dice.sample(range(1, int(150_000 * scale)), 200)))
        return (
            f"SELECT c_custkey, c_name, count(*) AS n, sum(o_totalprice) AS total FROM {t('customer')} "
            f"JOIN {t('orders')} ON o_custkey = c_custkey WHERE c_custkey IN ({ids}) GROUP BY c_custkey, c_name"
        )

    return [
        Question("u0", "SELECT 1", lambda t, dice: "SELECT 1", LOOK_UPS),
        Question("u1", "look-up by key, two departments", look_up, LOOK_UPS),
        Question("u2", "selective join, three departments", selective),
        Question("u3", "the 20 dearest orders", dearest),
        Question("u4", "roll-up by nation and year", roll_up),
        Question("u5", "export, 16 columns", lambda t, dice: export(t), whole=True),
        Question("u6", f"dashboard, {CLIENTS} clients", lambda t, dice: small(t, dice, scale), DASHBOARD, CLIENTS),
        Question("u7", "stock beside shipments", balance),
        Question("u8", "200 ids", listed),
    ]


def export(t: Place) -> str:
    """At scale 1: 1,000,049 rows."""
    return f"SELECT * FROM {t('lineitem')} WHERE l_orderkey <= 1000000"


def small(t: Place, dice: random.Random, scale: float) -> str:
    """One of a dashboard's questions."""
    key, customer = _order(dice, scale), dice.randrange(1, int(149_000 * scale))
    return dice.choice((
        f"SELECT l_returnflag, sum(l_quantity) AS q, count(*) AS n FROM {t('lineitem')} "
        f"WHERE l_orderkey BETWEEN {key} AND {key + 3200} GROUP BY l_returnflag",
        f"SELECT o_orderpriority, count(*) AS n FROM {t('orders')} "
        f"WHERE o_orderkey BETWEEN {key} AND {key + 1600} GROUP BY o_orderpriority",
        f"SELECT c_name, o_orderdate, o_totalprice FROM {t('orders')} JOIN {t('customer')} ON c_custkey = o_custkey "
        f"WHERE o_orderkey = {key}",
        f"SELECT c_name, c_phone, n_name FROM {t('customer')} JOIN {t('nation')} ON n_nationkey = c_nationkey "
        f"WHERE c_custkey = {customer}",
    ))  # fmt: skip


# ---- asking


Ask = Callable[[str, str], tuple[float, Any, Mapping[str, Any]]]
"""Question's name and text -> seconds, rows, final statistics."""


def ask_all(question: Question, place: Place, seed: int, ask: Ask, into: Measured | None) -> list[Any]:
    """Ask a question as often and by as many clients as it says; the rows of each. into: where it is counted."""
    texts = [
        [question.text(place, dice) for _ in range(question.times)]
        for dice in (random.Random(f"{question.name} {seed} {client}") for client in range(question.clients))
    ]
    started = time.perf_counter()
    if question.clients == 1:
        found = [ask(question.name, text) for text in texts[0]]
    else:
        with ThreadPoolExecutor(question.clients) as pool:
            asked = pool.map(lambda own: [ask(question.name, text) for text in own], texts)
            found = list(itertools.chain.from_iterable(asked))
    span = time.perf_counter() - started
    if into is not None:
        into.spans.append(span)
        into.asked += len(found)
        into.seconds += [seconds for seconds, _, _ in found]
        into.rows = max(int(stats.get("processedRows", 0)) for _, _, stats in found)
        into.bytes = max(int(stats.get("processedBytes", 0)) for _, _, stats in found)
    return [rows for _, rows, _ in found]


# ---- goals


@dataclass(frozen=True)
class Goal:
    """value(by side): the figure; None where a peer is missing. most: reached at or below; least: at or above."""

    question: str
    words: str
    value: Callable[[Mapping[str, Measured]], float | None]
    most: float = float("inf")
    least: float = 0.0

    def reached(self, by_side: Mapping[str, Measured]) -> bool | None:
        found = self.value(by_side)
        return None if found is None else self.least <= found <= self.most


def _ratio(peer: str, of: Callable[[Measured], float]) -> Callable[[Mapping[str, Measured]], float | None]:
    return lambda sides: of(sides["atoll"]) / of(sides[peer]) if peer in sides else None


def _beyond(sides: Mapping[str, Measured]) -> float | None:
    """Seconds / what the better peer allows: a tenth and SLACK more than it."""
    peers = [m.median for side, m in sides.items() if side in ("trino", "attached")]
    return sides["atoll"].median / (1.1 * min(peers) + SLACK) if peers else None


def _ms(of: Callable[[Measured], float]) -> Callable[[Mapping[str, Measured]], float | None]:
    return lambda sides: of(sides["atoll"]) * 1000


GOALS = (
    Goal("u0", "median, ms", _ms(lambda m: m.median), most=5),
    Goal("u1", "median, ms", _ms(lambda m: m.median), most=10),
    Goal("u1", "95 of 100 within, ms", _ms(lambda m: m.p95), most=25),
    Goal("u1", "/ trino", _ratio("trino", lambda m: m.median), most=0.15),
    Goal("u2", "/ attached", _ratio("attached", lambda m: m.median), most=0.10),
    Goal("u8", "/ attached", _ratio("attached", lambda m: m.median), most=0.10),
    Goal("u5", "rows a second / trino", _ratio("trino", lambda m: 1 / m.median), least=5),
    Goal("u5", "Arrow / attached", lambda sides: _arrow(sides), most=1.4),
    Goal("u6", "questions a second / trino", _ratio("trino", lambda m: m.per_second), least=8),
    Goal("u6", "95 of 100 within / trino", _ratio("trino", lambda m: m.p95), most=0.3),
    *(Goal(u, "/ (1.1 x better peer + 15 ms)", _beyond, most=1.0) for u in ("u2", "u3", "u4", "u7", "u8")),
)


def _arrow(sides: Mapping[str, Measured]) -> float | None:
    return sides["arrow"].median / sides["attached"].median if {"arrow", "attached"} <= sides.keys() else None


PAIRS = (
    *(("atoll", peer) for peer in ("trino", "attached", "local", "hand")),
    ("hand", "attached"), ("hand", "trino"),
)  # fmt: skip
"""Sides of which geometric means are printed; what the programs by hand reach is for orientation."""


class _Timed(Protocol):
    @property
    def median(self) -> float: ...


Found = TypeVar("Found", bound=_Timed)


def means(found: Collection[Mapping[str, Found]]) -> Iterator[tuple[str, str, float]]:
    """(side, other side, geometric mean of its seconds beside the other's), over the questions that both answered."""
    for mine, other in PAIRS:
        ratios = [by[mine].median / by[other].median for by in found if {mine, other} <= by.keys()]
        if ratios:
            yield mine, other, statistics.geometric_mean(ratios)


def report(found: Mapping[str, Mapping[str, Measured]], titles: Mapping[str, str], console: Console) -> bool:
    """Print what was measured and the goals beside it; whether all are reached."""
    sides = list(dict.fromkeys(itertools.chain.from_iterable(found.values())))
    table = Table(title="user questions: median ms (95 of 100 within)")
    for name in ("", "", *sides, "/ hand", "a second", "rows crossed", "MB crossed", "gateway MB", "told"):
        table.add_column(name, justify="right" if name else "left")
    for name, by_side in found.items():
        mine = by_side["atoll"]
        table.add_row(
            name, titles[name], *(_cell(by_side.get(s)) for s in sides),
            f"{mine.median / by_side['hand'].median:.2f}" if "hand" in by_side else "-",
            f"{mine.per_second:.1f}", f"{mine.rows:,}", f"{mine.bytes / 1e6:.2f}",
            f"{mine.memory:.0f}", f"{mine.told[0] / max(mine.told[1], 1e-3):.0%}",
        )  # fmt: skip
    console.print(table)
    for one, other, mean in means([by_side for name, by_side in found.items() if name != "u0"]):
        console.print(f"u1 to u8: {one} / {other}, geometric mean: {mean:.3f}")
    reached = True
    for goal in (g for g in GOALS if g.question in found):
        value, met = goal.value(found[goal.question]), goal.reached(found[goal.question])
        if value is None:
            continue
        bound = f"at least {goal.least:g}" if goal.least else f"at most {goal.most:g}"
        console.print(f"{goal.question} {goal.words}: {value:.3f} (goal: {bound}){'' if met else '  missed'}")
        reached = reached and bool(met)
    return reached


def _cell(found: Measured | None) -> str:
    if found is None:
        return "-"
    return f"{found.median * 1000:,.1f}" + (f" ({found.p95 * 1000:,.1f})" if len(found.seconds) > 10 else "")
