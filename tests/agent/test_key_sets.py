"""Several sets of bind keys in one fragment: each restricts its own column, and all of them are counted and named.

Keys of several parts restrict several columns together.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from catalog.errors import Outcome
from catalog.exchange import KEY_COLUMNS, encode_keys
from catalog.ledger import read_ledger
from connectors.agent import plan
from tests.agent.house import Ask, House, tuples

POLICY: dict[str, Any] = {
    "department": "dept",
    "relations": {
        "line": {
            "table": "line", "key": ["id"],
            "columns": {"id": "bigint", "item": "bigint", "firm": "varchar", "day": "date", "note": "varchar"},
        },
        "item": {"table": "item", "key": ["no"], "columns": {"no": "bigint", "kind": "varchar"}},
        "wage": {"table": "wage", "columns": {"person": "varchar", "ward": "varchar", "pay": "bigint"}},
        "register": {"table": "register", "columns": {"number": "varchar"}},
    },
    "grants": [
        {"id": "l", "relation": "line", "purposes": ["mass-balance"], "mode": "masked",
         "masks": {"note": "constant('-')"}},
        {"id": "i", "relation": "item", "purposes": ["mass-balance"], "mode": "masked"},
        {"id": "w", "relation": "wage", "purposes": ["mass-balance"], "mode": "aggregate", "entity": "person",
         "min_group": 3, "dimensions": ["ward"], "measures": ["pay"]},
        {"id": "r", "relation": "register", "purposes": ["mass-balance"], "mode": "verify", "key": "number"},
    ],
    "limits": {"keys": 6},
}  # fmt: skip
TABLES: dict[str, Any] = {
    "line": (
        "id INTEGER, item INTEGER, firm TEXT, day TEXT, note TEXT",
        [
            (1, 10, "A", "2024-01-01", "x"), (2, 10, "B", "2024-01-02", "y"), (3, 11, "A", "2024-01-01", "x"),
            (4, 12, "C", None, "z"), (5, None, "A", "2024-01-02", "x"), (6, 11, "B", "2024-01-01", None),
        ],
    ),
    "item": ("no INTEGER, kind TEXT", [(10, "k1"), (11, "k2"), (12, "k1")]),
    "wage": ("person TEXT, ward TEXT, pay INTEGER", [(f"p{i}", "north", i) for i in range(9)]),
    "register": ("number TEXT", [("R1",)]),
}  # fmt: skip
TWO = 'WHERE t.item IN (SELECT k FROM "$keys") AND t.firm IN (SELECT k FROM "$keys1")'
LINES = f"SELECT t.id AS c0 FROM dept.main.line AS t {TWO}"
ITEMS, FIRMS = pa.array([10, 11]), pa.array(["A", "Z"])


def sets(*keys: pa.Array | str) -> dict[str, Any]:
    return {"version": 2, "key_sets": [k if isinstance(k, str) else encode_keys(k) for k in keys]}


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    async with House(tmp_path / "dept", POLICY, TABLES).client("lin", "mass-balance") as client:
        yield client


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The keys that reach a source, each with its columns, as they were planned."""
    seen: list[Any] = []
    scans = plan.RowPlan.__init__

    def noting(self: Any, *args: Any, **named: Any) -> None:
        scans(self, *args, **named)
        seen.extend(k for scan in self.scans for part in scan.native.scans() for k in part.keys)

    monkeypatch.setattr(plan.RowPlan, "__init__", noting)
    return seen


async def test_each_set_restricts_its_own_column(ask: Ask) -> None:
    assert tuples(await ask.rows(LINES, **sets(ITEMS, FIRMS))) == [(1,), (3,)]
    assert tuples(await ask.rows(LINES, **sets(pa.array([11]), pa.array(["B"])))) == [(6,)]


async def test_a_set_without_keys_leaves_nothing(ask: Ask) -> None:
    assert (await ask.rows(LINES, **sets(ITEMS, pa.array([], pa.string())))).num_rows == 0
    assert (await ask.rows(LINES, **sets(pa.array([], pa.int64()), FIRMS))).num_rows == 0


async def test_three_sets_of_three_types(ask: Ask) -> None:
    sql = f'{LINES} AND t.day IN (SELECT k FROM "$keys2")'
    days = pa.array([19723], pa.date32())
    assert tuples(await ask.rows(sql, **sets(pa.array([10, 11, 10]), FIRMS, days))) == [(1,), (3,)]


async def test_two_sets_on_one_column_are_both_asked(ask: Ask) -> None:
    sql = 'SELECT t.id AS c0 FROM dept.main.line AS t WHERE t.item IN (SELECT k FROM "$keys") '
    found = await ask.rows(sql + 'AND t.item IN (SELECT k FROM "$keys1")', **sets(ITEMS, pa.array([11, 12])))
    assert tuples(found) == [(3,), (6,)]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (f"SELECT t.firm AS c0, count(*) AS c1 FROM dept.main.line AS t {TWO} GROUP BY t.firm", [("A", 2)]),
        (f"SELECT i.kind AS c0, t.id AS c1 FROM dept.main.line AS t JOIN dept.main.item AS i ON i.no = t.item {TWO}",
         [("k1", 1), ("k2", 3)]),
        (f"SELECT i.kind AS c0, count(*) AS c1 FROM dept.main.line AS t JOIN dept.main.item AS i ON i.no = t.item {TWO}"
         " GROUP BY i.kind", [("k1", 1), ("k2", 1)]),
    ],
    ids=["groups", "a join", "groups of a join"],
)  # fmt: skip
async def test_what_the_source_does_with_keys_it_does_with_each_set(
    ask: Ask, sql: str, rows: list[Any], bound: list[Any]
) -> None:
    """The scan that reaches the source holds both sets, of the right column each."""
    assert sorted(tuples(await ask.rows(sql, **sets(ITEMS, FIRMS)))) == rows
    assert sorted((keys.to_pylist() for _, keys in bound), key=str) == [["A", "Z"], [10, 11]]
    assert len({column for column, _ in bound}) == 2


PAIR = '(t.item, t.firm) IN (SELECT k, k1 FROM "$keys")'
PAIRS = f"SELECT t.id AS c0 FROM dept.main.line AS t WHERE {PAIR}"


def pairs(*keys: tuple[Any, ...], kinds: tuple[pa.DataType, ...] = (pa.int64(), pa.string())) -> pa.Array:
    parts = [pa.array([key[i] for key in keys], kind) for i, kind in enumerate(kinds)]
    return pa.StructArray.from_arrays(parts, names=[*KEY_COLUMNS[: len(kinds)]])


async def test_a_key_of_two_parts_is_met_by_rows_that_have_both(ask: Ask) -> None:
    """Row 1 has 10 and A, row 6 has 11 and B: neither is 10 with B, which is row 2."""
    assert tuples(await ask.rows(PAIRS, pairs((10, "B"), (11, "A"), (11, "A"), (99, "A")))) == [(2,), (3,)]
    assert tuples(await ask.rows(PAIRS, pairs((2**40, "A")))) == []
    assert (await ask.rows(PAIRS, pairs())).num_rows == 0


async def test_a_key_may_have_three_parts(ask: Ask) -> None:
    sql = 'SELECT t.id AS c0 FROM dept.main.line AS t WHERE (t.firm, t.day, t.item) IN (SELECT k, k1, k2 FROM "$keys")'
    keys = pairs(("A", 19723, 11), ("A", 19723, 12), kinds=(pa.string(), pa.date32(), pa.int64()))
    assert tuples(await ask.rows(sql, keys)) == [(3,)]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (PAIRS, [(2,), (3,)]),
        (f"SELECT t.firm AS c0, count(*) AS c1 FROM dept.main.line AS t WHERE {PAIR} GROUP BY t.firm",
         [("A", 1), ("B", 1)]),
        (f"SELECT i.kind AS c0, t.id AS c1 FROM dept.main.line AS t JOIN dept.main.item AS i ON i.no = t.item "
         f"WHERE {PAIR}", [("k1", 2), ("k2", 3)]),
        (f"SELECT i.kind AS c0, count(*) AS c1 FROM dept.main.line AS t JOIN dept.main.item AS i ON i.no = t.item "
         f"WHERE {PAIR} GROUP BY i.kind", [("k1", 1), ("k2", 1)]),
        ("SELECT i.kind AS c0, t.id AS c1 FROM dept.main.line AS t JOIN dept.main.item AS i ON i.no = t.item "
         'WHERE (i.no, t.firm) IN (SELECT k, k1 FROM "$keys")', [("k1", 2), ("k2", 3)]),
    ],
    ids=["rows", "groups", "a join", "groups of a join", "columns of two relations"],
)  # fmt: skip
async def test_what_the_source_does_with_keys_it_does_with_keys_of_two_parts(
    ask: Ask, sql: str, rows: list[Any], bound: list[Any]
) -> None:
    assert sorted(tuples(await ask.rows(sql, pairs((10, "B"), (11, "A"))))) == rows
    assert [(len(columns), sorted(keys.to_pylist(), key=str)) for columns, keys in bound] == [
        (2, [{"k": 10, "k1": "B"}, {"k": 11, "k1": "A"}])
    ]


@pytest.mark.parametrize(
    "condition",
    [
        '(t.item, t.firm) IN (SELECT k1, k FROM "$keys")',
        '(t.item, t.firm) IN (SELECT k FROM "$keys")',
        't.item IN (SELECT k, k1 FROM "$keys")',
        't.item IN (SELECT k2 FROM "$keys")',
        '(t.item, t.firm, t.day) IN (SELECT k, k1, k2 FROM "$keys")',
    ],
)
async def test_keys_that_have_other_parts_than_what_is_asked_are_refused(ask: Ask, condition: str) -> None:
    refused = await ask.refusal(f"SELECT t.id AS c0 FROM dept.main.line AS t WHERE {condition}", pairs((10, "A")))
    assert refused.outcome in (Outcome.SEMANTIC, Outcome.NOT_AVAILABLE)  # compares otherwise, or has no such part


async def test_what_is_not_exactly_all_columns_is_answered_above_the_source(ask: Ask) -> None:
    """By a part of a key, not by it, beside something else: the same answers, with more read from the source."""
    keys = pairs((10, "B"), (11, "A"))
    start = "SELECT t.id AS c0 FROM dept.main.line AS t WHERE"
    for condition, rows in (
        ('t.item IN (SELECT k FROM "$keys") AND t.firm IN (SELECT k1 FROM "$keys")', [1, 2, 3, 6]),
        (f"{PAIR} OR t.id = 6", [2, 3, 6]),
        ('(t.item + 0, t.firm) IN (SELECT k, k1 FROM "$keys")', [2, 3]),
    ):
        assert sorted(r for (r,) in tuples(await ask.rows(f"{start} {condition}", keys))) == rows, condition


async def test_a_column_named_as_a_key_is_none_of_the_keys(tmp_path: Path) -> None:
    """`t.k` inside the list of keys is the relation's own column, which is not sought among the keys."""
    rows = [(1, 1, 9), (2, 3, 9), (3, 2, 9), (4, 4, 4)]
    relation = {"table": "r", "key": ["id"], "columns": {"id": "bigint", "k": "bigint", "k1": "bigint"}}
    grant = {"id": "r", "relation": "r", "purposes": ["mass-balance"], "mode": "masked"}
    policy = {"department": "dept", "relations": {"r": relation}, "grants": [grant]}
    house = House(tmp_path / "own", policy, {"r": ("id INTEGER, k INTEGER, k1 INTEGER", rows)})
    start = "SELECT t.id AS c0 FROM dept.main.r AS t WHERE"
    two = pairs((2, 3), (4, 4), kinds=(pa.int64(), pa.int64()))
    async with house.client("lin", "mass-balance") as own:
        for condition, keys, found in (
            ('t.id IN (SELECT t.k FROM "$keys")', pa.array([2, 3]), [1, 4]),
            ('t.id IN (SELECT q.k FROM "$keys" AS q)', pa.array([2, 3]), [2, 3]),
            ('t.id IN (SELECT k FROM "$keys")', pa.array([2, 3]), [2, 3]),
            ('(t.id, t.k) IN (SELECT t.k, t.k1 FROM "$keys")', two, [4]),
            ('(t.id, t.k) IN (SELECT k, k1 FROM "$keys")', two, [2, 4]),
        ):
            assert sorted(r for (r,) in tuples(await own.rows(f"{start} {condition}", keys))) == found, condition


async def test_parts_that_compare_otherwise_are_not_looked_for_in_the_source(ask: Ask) -> None:
    refused = await ask.refusal(PAIRS, pairs(("10", "A"), kinds=(pa.string(), pa.string())))
    assert refused.who == "dept"


async def test_a_pair_with_a_masked_column_compares_with_what_is_shown(ask: Ask) -> None:
    sql = 'SELECT t.id AS c0 FROM dept.main.line AS t WHERE (t.id, t.note) IN (SELECT k, k1 FROM "$keys")'
    assert tuples(await ask.rows(sql, pairs((1, "x"), (2, "y")))) == []
    assert tuples(await ask.rows(sql, pairs((1, "-"), (3, "x")))) == [(1,)]


async def test_keys_of_several_parts_are_counted_and_told_as_one_set(ask: Ask) -> None:
    await ask.rows(PAIRS, pairs((10, "B"), (11, "A"), (10, "B")))
    begin = [r for r in read_ledger(ask.house.folder / "state" / "ledger.jsonl") if r["kind"] == "begin"][-1]
    assert (begin["keys"], begin["key_sets"]) == (2, {"$keys": 2})
    refused = await ask.refusal(PAIRS, pairs(*((i, "A") for i in range(7))))
    assert (refused.outcome, refused.rule) == (Outcome.TOO_LARGE, "keys")
    listed = {r["name"]: r["key_columns"] for r in (await ask.relations())["relations"]}
    assert listed["line"] == 3


async def test_claims_and_sums_take_no_keys_of_several_parts(ask: Ask) -> None:
    sql = """SELECT k AS c0, verify('dept.main.register', k) AS c1 FROM "$keys" """
    texts = pairs(("R1", "x"), kinds=(pa.string(), pa.string()))
    assert (await ask.refusal(sql, texts)).rule == "keys"
    sums = "SELECT w.ward AS c0, count(*) AS c1 FROM dept.main.wage AS w GROUP BY w.ward"
    assert (await ask.refusal(sums, texts)).outcome is Outcome.MODE


async def test_the_limit_is_on_all_sets_together(ask: Ask) -> None:
    assert (await ask.rows(LINES, **sets(pa.array([10, 11, 12]), pa.array(["A", "B", "C"])))).num_rows == 5
    refused = await ask.refusal(LINES, **sets(pa.array([10, 11, 12, 13]), pa.array(["A", "B", "C"])))
    assert (refused.outcome, refused.rule) == (Outcome.TOO_LARGE, "keys")


async def test_the_ledger_and_the_receipt_name_each_set(ask: Ask) -> None:
    await ask.rows(LINES, **sets(pa.array([10, 11, 10]), FIRMS))
    begin = [r for r in read_ledger(ask.house.folder / "state" / "ledger.jsonl") if r["kind"] == "begin"][-1]
    assert (begin["keys"], begin["key_sets"]) == (4, {"$keys": 2, "$keys1": 2})
    assert ask.end is not None
    assert ask.end.receipt is not None
    assert ask.end.receipt.keys == {"$keys": 2, "$keys1": 2}


async def test_other_keys_are_other_parameters_whatever_their_set(ask: Ask) -> None:
    for keys in ((ITEMS, FIRMS), (ITEMS, FIRMS), (ITEMS, pa.array(["A"])), (pa.array([10]), FIRMS)):
        await ask.rows(LINES, **sets(*keys))
    begun = [r for r in read_ledger(ask.house.folder / "state" / "ledger.jsonl") if r["kind"] == "begin"]
    one, same, *others = [r["parameters"] for r in begun]
    assert one == same
    assert len({one, *others}) == 3


async def test_one_set_is_told_as_before(ask: Ask) -> None:
    """Nothing that a reader of one set does not know: it would refuse what it was not asked for."""
    sql = 'SELECT t.id AS c0 FROM dept.main.line AS t WHERE t.item IN (SELECT k FROM "$keys")'
    assert b"key_sets" not in ask.fragment(sql, ITEMS)
    await ask.rows(sql, ITEMS)
    assert ask.end is not None
    assert ask.end.receipt is not None
    assert "keys" not in ask.end.receipt.model_dump()
    assert "keys" not in orjson.loads(ask.end.signed_bytes())["receipt"]


async def test_the_gateway_is_told_how_many_sets_may_come(ask: Ask) -> None:
    listed = {r["name"]: r["key_sets"] for r in (await ask.relations())["relations"]}
    assert listed["line"] == 4


async def test_a_set_that_did_not_come_is_asked_of_nobody(ask: Ask) -> None:
    refused = await ask.refusal(f'{LINES} AND t.day IN (SELECT k FROM "$keys2")', **sets(ITEMS, FIRMS))
    assert refused.rule == "keys"
    assert (await ask.refusal(LINES, ITEMS)).rule == "keys"


# ---- custody


async def test_a_set_on_a_masked_column_compares_with_what_is_shown(ask: Ask) -> None:
    sql = (
        'SELECT t.id AS c0 FROM dept.main.line AS t WHERE t.item IN (SELECT k FROM "$keys") '
        'AND t.note IN (SELECT k FROM "$keys1")'
    )
    shown = await ask.rows("SELECT t.note AS c0 FROM dept.main.line AS t WHERE t.id = 1")
    mask = tuples(shown)[0][0]
    assert mask != "x"
    assert (await ask.rows(sql, **sets(ITEMS, pa.array(["x", "y", "z"])))).num_rows == 0
    assert sorted(tuples(await ask.rows(sql, **sets(ITEMS, pa.array([mask]))))) == [(1,), (2,), (3,)]


async def test_sums_take_no_set(ask: Ask) -> None:
    sql = "SELECT count(*) AS c0 FROM dept.main.wage AS t WHERE t.ward IN (SELECT k FROM {})"
    for name in ('"$keys"', '"$keys1"'):
        refused = await ask.refusal(sql.format(name), **sets(pa.array(["north"]), pa.array(["north"])))
        assert refused.outcome is Outcome.MODE
    assert (await ask.refusal(sql.partition(" WHERE")[0], **sets(ITEMS, FIRMS))).outcome is Outcome.MODE


async def test_claims_are_one_set(ask: Ask) -> None:
    sql = "SELECT k AS c0, verify('dept.main.register', k) AS c1 FROM {}"
    claims = pa.array(["R1"])
    assert (await ask.rows(sql.format('"$keys"'), claims)).num_rows == 1
    assert (await ask.refusal(sql.format('"$keys"'), **sets(claims, claims))).rule == "keys"
    assert (await ask.refusal(sql.format('"$keys1"'), **sets(claims, claims))).outcome is Outcome.MODE


HONEST = encode_keys(pa.array(["abcd", "efgh", "ijkl"]))


def forged() -> dict[str, str]:
    whole = base64.b64decode(HONEST)
    honest, outside = (struct.pack("<4i", *ends) for ends in ((0, 4, 8, 12), (0, 100_000, 8, 12)))
    packed = pa.BufferOutputStream()
    zeros = pa.table({"k": pa.array([0] * 1_000_000, pa.int64())})
    with pa.ipc.new_stream(packed, zeros.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(zeros)
    return {
        "offsets that leave the message": base64.b64encode(whole.replace(honest, outside)).decode(),
        "packed": base64.b64encode(packed.getvalue().to_pybytes()).decode(),
        "lists": encode_keys(pa.array([[1]])),
        "NULL": encode_keys(pa.array(["a", None])),
        "cut": HONEST[:40],
        "no stream": "AAAA",
        "empty": "",
    }


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("part", forged().values(), ids=forged())
async def test_a_forged_part_is_refused_in_whatever_place(ask: Ask, place: int, part: str) -> None:
    parts: list[pa.Array | str] = [ITEMS, FIRMS, FIRMS]
    parts[place] = part
    before = pa.total_allocated_bytes()
    refused = await ask.refusal(LINES, **sets(*parts))
    assert (refused.outcome, refused.rule) == (Outcome.SYNTAX, "keys")
    assert pa.total_allocated_bytes() - before < 1_000_000


async def test_the_ledger_tells_what_was_asked_apart_from_with_which_values(ask: Ask) -> None:
    """An owner counts questions by their pattern: values, numbers and texts alike, are not part of it."""
    one = "SELECT t.id AS c0 FROM dept.main.line AS t WHERE t.firm = 'A' AND t.item < {}"
    for sql in (one.format(10), one.format(11), one.format("-1.5e0"), one.format("10 OR t.firm = 'it''s 7'"),
                one.format("10 OR t.firm = ''"), one.replace("t.id", "t.item").format(10)):  # fmt: skip
        await ask.rows(sql)
    begun = [r for r in read_ledger(ask.house.folder / "state" / "ledger.jsonl") if r["kind"] == "begin"]
    ten, eleven, negative, seven, empty, item = (r["canonical_sha256"] for r in begun)
    assert ten == eleven != negative
    assert seven == empty
    assert len({ten, negative, seven, item}) == 4
