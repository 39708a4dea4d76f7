"""The ideal federated program of each question, written by hand: what a gateway's plan is worth.

Each program asks the three sources by their own drivers over kept connections, in the source's own SQL, with what it
knows of the data: no HTTP hop, no policy, no ledger, no SQL front end. Its answer is Trino's to the last digit.

What makes them fast:
- Keys and small tables go to A as literals, so that A joins and groups and a handful of rows comes back. What a key
  leads to goes as an array with one small number a key: `nations[o_custkey]` is a join that costs a subscript.
- MariaDB lists keys by group_concat: one text, which goes to A as it is.
- Bulk comes from A by the column (array_agg), whole cents as integers: no row is made an object.
- What PostgreSQL does not spread over its workers is asked in two halves at once.
- Its indexes are cheap to jump in here (random_page_cost): all data lies in memory.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Generic, TypeVar

import duckdb
import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pymysql
from psycopg.adapt import Buffer, Loader
from psycopg.conninfo import make_conninfo
from psycopg.postgres import types
from psycopg.pq import Format

from bench.peers import Attached
from bench.servers import Servers
from bench.tpch import TABLES

__all__ = ["Hand", "running_hand"]

Row = tuple[Any, ...]
Numbers = npt.NDArray[np.int64]
Connection = TypeVar("Connection")
LISTED = 1 << 30
"""Bytes of the longest text that MariaDB may list keys in."""
YEAR = "date_part('year', o_orderdate)::int"
REVENUE = "sum(l_extendedprice * (1 - l_discount))"


# ---- the sources


class _Column(Loader):
    """An array of integers without NULLs -> a column. Its head is 20 bytes; before each value stands its size."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Numbers:
        kind = int.from_bytes(data[8:12], "big")
        cell = np.dtype([("size", ">i4"), ("value", ">i4" if kind == types["int4"].oid else ">i8")])
        return np.frombuffer(data, cell, offset=20)["value"].astype(np.int64)


class _Kept(Generic[Connection]):
    """Open connections; another is made when none is idle."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._idle: list[Connection] = []

    @contextmanager
    def one(self) -> Iterator[Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        yield connection
        self._idle.append(connection)  # one that failed is not kept

    def close(self) -> None:
        for connection in self._idle:
            connection.close()  # type: ignore[attr-defined]


class Hand:
    """The three sources. duck: DuckDB with them attached, whose scanner reads an export fastest."""

    def __init__(self, servers: Servers, duck: Attached) -> None:
        self._login, self._other, self.duck = servers.a.owner, servers.b.owner if servers.b else {}, duck
        self._a, self._b = _Kept(self._open_a), _Kept(self._open_b)
        self._c = duckdb.connect(config={"threads": 2})
        for table in (t for t, home in TABLES.items() if home == "c"):
            self._c.execute(f"CREATE VIEW {table} AS FROM '{servers.c}/{table}.parquet'")
        self._threads = ThreadPoolExecutor(4)

    def _open_a(self) -> psycopg.Connection[Row]:
        login = make_conninfo(self._login, options="-c random_page_cost=1.1")
        connection = psycopg.connect(login, autocommit=True)
        for kind in ("int4", "int8"):
            connection.adapters.register_loader(types[kind].array_oid, _Column)
        return connection

    def _open_b(self) -> Any:
        return pymysql.connect(
            **self._other, autocommit=True, init_command=f"SET SESSION group_concat_max_len = {LISTED}"
        )

    def close(self) -> None:
        self._threads.shutdown()
        self._a.close()
        self._b.close()
        self._c.close()

    def a(self, sql: str, *values: Any) -> list[Row]:
        with self._a.one() as connection:
            return connection.execute(sql.encode(), values or None, binary=True).fetchall()

    def b(self, sql: str, *values: Any) -> list[Row]:
        with self._b.one() as connection, connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())

    def c(self, sql: str, **columns: dict[str, Numbers]) -> list[Row]:
        """columns: tables to join with, by their names."""
        with self._c.cursor() as cursor:
            for name, table in columns.items():
                cursor.register(name, pa.table(table))
            return list(cursor.execute(sql).fetchall())

    def columns(self, sql: str) -> tuple[Numbers, ...]:
        """Whole numbers of C's, by the column."""
        with self._c.cursor() as cursor:
            return tuple(cursor.execute(sql).fetchnumpy().values())

    def at_once(self, *calls: Callable[[], Any]) -> list[Any]:
        """The results of calls that run beside each other; the last in this thread."""
        begun = [self._threads.submit(call) for call in calls[:-1]]
        last = calls[-1]()
        return [*(b.result() for b in begun), last]

    def halves(self, sql: str, table: str) -> list[Row]:
        """The rows of a statement asked of either half of a table of A's at once; `{half}` is the condition."""
        ((middle,),) = self.a(f"SELECT pg_relation_size('{table}') / current_setting('block_size')::int / 2")
        parts = (f"ctid {side} '({middle},0)'::tid" for side in ("<", ">="))
        first, second = self.at_once(*(_call(self.a, sql.replace("{half}", part)) for part in parts))
        return [*first, *second]

    def nations(self, *names: str) -> dict[int, str]:
        """Key -> name, of all or those named."""
        wanted = f" WHERE n_name IN ({_listed(map(repr, names))})" if names else ""
        return dict(self.b(f"SELECT n_nationkey, n_name FROM nation{wanted}"))

    def region(self, name: str) -> dict[int, str]:
        """Key -> name, of the nations of a region."""
        return dict(
            self.b(
                f"SELECT n_nationkey, n_name FROM nation JOIN region ON r_regionkey = n_regionkey AND r_name = '{name}'"
            )
        )

    def customers(self, nations: Iterable[int]) -> str:
        """The nations of these nations' customers, as a map of A's."""
        found = self.b(
            "SELECT c_nationkey, group_concat(c_custkey) FROM customer "
            f"WHERE c_nationkey IN ({_listed(nations)}) GROUP BY 1"
        )
        keys = [_numbers(listed) for _, listed in found]
        return _map(np.concatenate(keys), np.repeat([nation for nation, _ in found], [len(k) for k in keys]))

    def suppliers(self) -> str:
        """The nations of all suppliers, as a map of A's."""
        return _map(*self.columns("SELECT s_suppkey, s_nationkey FROM supplier"))

    def ask(self, name: str, sql: str) -> tuple[float, list[list[Any]]]:
        """Seconds of a question's program, and its rows as the Trino protocol shows them.

        sql: the question over plain table names; the program takes its values out of it.
        """
        started = time.perf_counter()
        found = PROGRAMS[name](self, sql)
        seconds = time.perf_counter() - started
        return seconds, [[v if isinstance(v, int | str) else str(v) for v in row] for row in found]


@contextmanager
def running_hand(servers: Servers, duck: Attached) -> Iterator[Hand]:
    hand = Hand(servers, duck)
    try:
        yield hand
    finally:
        hand.close()


def _call(function: Callable[..., Any], *values: Any) -> Callable[[], Any]:
    return lambda: function(*values)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def _by_key(rows: Iterable[Row]) -> dict[Any, Any]:
    """Rows of a key and a value."""
    return dict(rows)


def _first(most: int, asked: Callable[[str], list[Row]]) -> list[Row]:
    """The first rows of a join to one row or none: of so many from its larger side, of all only where some lack."""
    found = asked(f"LIMIT {most}")
    return found if len(found) == most else asked("")[:most]


def _array(values: Any) -> str:
    """Whole numbers (or a text that lists them) -> an array of A's."""
    return f"'{{{values if isinstance(values, str) else ','.join(map(str, values))}}}'::bigint[]"


def _numbers(listed: str) -> Numbers:
    return np.fromstring(listed, np.int64, sep=",")


def _map(keys: Numbers, values: Numbers) -> str:
    """An array of A's whose subscripts are the keys, with values of 0 .. 98; 99 where there is no such key."""
    cells = np.full((int(keys.max()), 3), ord("9"), np.uint8)
    cells[:, 2] = ord(",")
    cells[keys - 1, 0], cells[keys - 1, 1] = values // 10 + ord("0"), values % 10 + ord("0")
    return f"'{{{cells.tobytes()[:-1].decode()}}}'::int2[]"


def _over(dividend: Decimal, divisor: Decimal | int, digits: int) -> Decimal:
    """Trino's quotient of decimals."""
    return (dividend / divisor).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def _cents(value: str) -> str:
    return f"array_agg(({value} * 100)::int)"


def _whole(value: str) -> str:
    return f"array_agg(({value})::int)"


# ---- TPC-H


def q01(h: Hand, sql: str) -> list[Row]:
    """Multiplied once for each discount and tax instead of each row."""
    parts = h.a(
        "SELECT l_returnflag, l_linestatus, l_discount, l_tax, sum(l_quantity), sum(l_extendedprice), count(*) "
        "FROM lineitem WHERE l_shipdate <= '1998-09-02' GROUP BY 1, 2, 3, 4"
    )
    groups: dict[Row, list[Any]] = defaultdict(lambda: [Decimal(0)] * 6)
    for flag, status, discount, tax, quantity, price, count in parts:
        paid = price * (1 - discount)
        values = (quantity, price, paid, paid * (1 + tax), discount * count, count)
        groups[flag, status] = [s + v for s, v in zip(groups[flag, status], values, strict=True)]
    return [
        (*key, quantity, price, paid, charge,
         _over(quantity, n, 2), _over(price, n, 2), _over(discount, n, 2), int(n))
        for key, (quantity, price, paid, charge, discount, n) in sorted(groups.items())
    ]  # fmt: skip


def q02(h: Hand, sql: str) -> list[Row]:
    nations = ", ".join(f"({key}, '{name}')" for key, name in h.region("EUROPE").items())
    return h.c(
        f"WITH near AS (SELECT * FROM supplier JOIN (VALUES {nations}) AS n(n_key, n_name) ON n_key = s_nationkey), "
        "offers AS (SELECT *, min(ps_supplycost) OVER (PARTITION BY p_partkey) AS least FROM part "
        "JOIN partsupp ON ps_partkey = p_partkey JOIN near ON s_suppkey = ps_suppkey "
        "WHERE p_size = 15 AND p_type LIKE '%BRASS') "
        "SELECT s_acctbal, s_name, n_name, p_partkey, p_mfgr, s_address, s_phone, s_comment FROM offers "
        "WHERE ps_supplycost = least ORDER BY s_acctbal DESC, n_name, s_name, p_partkey LIMIT 100"
    )


def q03(h: Hand, sql: str) -> list[Row]:
    ((keys,),) = h.b("SELECT group_concat(c_custkey) FROM customer WHERE c_mktsegment = 'BUILDING'")
    return h.a(
        f"SELECT l_orderkey, {REVENUE} AS revenue, o_orderdate, o_shippriority FROM orders "
        "JOIN lineitem ON l_orderkey = o_orderkey WHERE o_orderdate < '1995-03-15' AND l_shipdate > '1995-03-15' "
        f"AND o_custkey = ANY({_array(keys)}) GROUP BY 1, 3, 4 ORDER BY 2 DESC, 3 LIMIT 10"
    )


def of_a(h: Hand, sql: str) -> list[Row]:
    """A alone answers, in the question's own words."""
    return h.a(sql)


def of_b(h: Hand, sql: str) -> list[Row]:
    return h.b(sql)


def of_c(h: Hand, sql: str) -> list[Row]:
    return h.c(sql)


def q05(h: Hand, sql: str) -> list[Row]:
    names = h.region("ASIA")
    customers, suppliers = h.at_once(lambda: h.customers(names), h.suppliers)
    found = h.a(
        f"SELECT n[o_custkey], {REVENUE} FROM (SELECT {customers} AS n, {suppliers} AS s) AS maps, orders "
        "JOIN lineitem ON l_orderkey = o_orderkey WHERE o_orderdate >= '1994-01-01' AND o_orderdate < '1995-01-01' "
        f"AND n[o_custkey] IN ({_listed(names)}) AND s[l_suppkey] = n[o_custkey] GROUP BY 1 ORDER BY 2 DESC"
    )
    return [(names[nation], revenue) for nation, revenue in found]


def q07(h: Hand, sql: str) -> list[Row]:
    names = h.nations("FRANCE", "GERMANY")
    customers, suppliers = h.at_once(lambda: h.customers(names), h.suppliers)
    both = _listed(names)
    found = h.a(
        f"SELECT s[l_suppkey], n[o_custkey], date_part('year', l_shipdate)::int, {REVENUE} "
        f"FROM (SELECT {customers} AS n, {suppliers} AS s) AS maps, orders JOIN lineitem ON l_orderkey = o_orderkey "
        f"WHERE l_shipdate BETWEEN '1995-01-01' AND '1996-12-31' AND n[o_custkey] IN ({both}) "
        f"AND s[l_suppkey] IN ({both}) AND s[l_suppkey] <> n[o_custkey] GROUP BY 1, 2, 3"
    )
    return sorted((names[theirs], names[ours], year, revenue) for theirs, ours, year, revenue in found)


def q08(h: Hand, sql: str) -> list[Row]:
    america, (brazil,) = h.region("AMERICA"), h.nations("BRAZIL")
    customers, suppliers, ((parts,),) = h.at_once(
        lambda: h.customers(america),
        h.suppliers,
        lambda: h.c("SELECT string_agg(p_partkey, ',') FROM part WHERE p_type = 'ECONOMY ANODIZED STEEL'"),
    )
    found = h.a(
        f"SELECT {YEAR}, {REVENUE}, "
        f"coalesce({REVENUE} FILTER (WHERE s[l_suppkey] = {brazil}), 0) "
        f"FROM (SELECT {customers} AS n, {suppliers} AS s) AS maps, lineitem JOIN orders ON o_orderkey = l_orderkey "
        f"WHERE o_orderdate BETWEEN '1995-01-01' AND '1996-12-31' AND l_partkey = ANY({_array(parts)}) "
        f"AND n[o_custkey] IN ({_listed(america)}) GROUP BY 1 ORDER BY 1"
    )
    return [(year, _over(share, whole, 4)) for year, whole, share in found]


def q09(h: Hand, sql: str) -> list[Row]:
    """Lines by the index on parts, beside the years of all orders: joining them in A takes longer."""
    ((parts,),) = h.c("SELECT string_agg(p_partkey, ',') FROM part WHERE p_name LIKE '%green%'")
    (orders,), (lines,), names = h.at_once(
        lambda: h.a(f"SELECT {_whole('o_orderkey')}, {_whole(YEAR)} FROM orders"),
        lambda: h.a(
            f"SELECT {_whole('l_orderkey')}, {_whole('l_partkey')}, {_whole('l_suppkey')}, "
            f"{_cents('l_extendedprice')}, {_cents('l_discount')}, {_cents('l_quantity')} "
            f"FROM lineitem WHERE l_partkey = ANY({_array(parts)})"
        ),
        h.nations,
    )
    found = h.c(
        "SELECT s_nationkey, o_year, "
        "sum(price * (100 - discount) - (ps_supplycost * 100)::int * quantity)::decimal(38, 0) "
        "FROM lines JOIN orders ON o_key = l_key JOIN partsupp ON ps_partkey = part AND ps_suppkey = supplier "
        "JOIN supplier ON s_suppkey = supplier GROUP BY 1, 2",
        lines=dict(zip(("l_key", "part", "supplier", "price", "discount", "quantity"), lines, strict=True)),
        orders=dict(zip(("o_key", "o_year"), orders, strict=True)),
    )
    named = [(names[nation], year, amount.scaleb(-4)) for nation, year, amount in found]
    return sorted(named, key=lambda row: (row[0], -row[1]))


def q10(h: Hand, sql: str) -> list[Row]:
    def first(limit: str) -> list[Row]:
        best = _by_key(
            h.a(
                f"SELECT o_custkey, {REVENUE} FROM orders JOIN lineitem ON l_orderkey = o_orderkey "
                "WHERE o_orderdate >= '1993-10-01' AND o_orderdate < '1994-01-01' AND l_returnflag = 'R' "
                f"GROUP BY 1 ORDER BY 2 DESC {limit}"
            )
        )
        known = h.b(
            "SELECT c_custkey, c_name, c_acctbal, n_name, c_address, c_phone, c_comment FROM customer "
            f"JOIN nation ON n_nationkey = c_nationkey WHERE c_custkey IN ({_listed(best)})"
        )
        return sorted(((key, name, best[key], *rest) for key, name, *rest in known), key=lambda row: -row[2])

    return _first(20, first)


def q11(h: Hand, sql: str) -> list[Row]:
    (nation,) = h.nations("GERMANY")
    return h.c(
        "WITH held AS (SELECT ps_partkey, sum(ps_supplycost * ps_availqty)::decimal(38, 2) AS worth FROM partsupp "
        f"JOIN supplier ON s_suppkey = ps_suppkey WHERE s_nationkey = {nation} GROUP BY 1) "
        "SELECT * FROM held WHERE worth * 10000 > (SELECT sum(worth) FROM held) ORDER BY 2 DESC"
    )


def q12(h: Hand, sql: str) -> list[Row]:
    """The text last: PostgreSQL tests conditions as they are written, and dates are quicker."""
    return h.a(
        "SELECT l_shipmode, count(*) FILTER (WHERE o_orderpriority IN ('1-URGENT', '2-HIGH')), "
        "count(*) FILTER (WHERE o_orderpriority NOT IN ('1-URGENT', '2-HIGH')) "
        "FROM lineitem JOIN orders ON o_orderkey = l_orderkey WHERE l_receiptdate >= '1994-01-01' "
        "AND l_receiptdate < '1995-01-01' AND l_commitdate < l_receiptdate AND l_shipdate < l_commitdate "
        "AND l_shipmode IN ('MAIL', 'SHIP') GROUP BY 1 ORDER BY 1"
    )


def q13(h: Hand, sql: str) -> list[Row]:
    """The customers of all orders, not grouped: A groups 100,000 values slower than it lists 1.5 million."""
    halves, ((customers,),) = h.at_once(
        lambda: h.halves(
            f"SELECT {_whole('o_custkey')} FROM orders WHERE o_comment NOT LIKE '%special%requests%' AND {{half}}",
            "orders",
        ),
        lambda: h.b("SELECT group_concat(c_custkey) FROM customer"),
    )
    keys = _numbers(customers)
    orders = np.concatenate([column for (column,) in halves])
    each = np.bincount(orders, minlength=int(keys.max()) + 1)[keys]
    counts = enumerate(np.bincount(each).tolist())
    return sorted(((c, n) for c, n in counts if n), key=lambda row: (-row[1], -row[0]))


def q14(h: Hand, sql: str) -> list[Row]:
    promo = _map(*h.columns("SELECT p_partkey, (p_type LIKE 'PROMO%')::int FROM part"))
    found = _by_key(
        h.a(
            f"SELECT promo[l_partkey], {REVENUE} FROM (SELECT {promo} AS promo) AS maps, lineitem "
            "WHERE l_shipdate >= '1995-09-01' AND l_shipdate < '1995-10-01' GROUP BY 1"
        )
    )
    return [(_over(100 * found[1], found[0] + found[1], 6),)]


def q15(h: Hand, sql: str) -> list[Row]:
    best = _by_key(
        h.a(
            f"SELECT l_suppkey, {REVENUE} AS revenue FROM lineitem WHERE l_shipdate >= '1996-01-01' "
            "AND l_shipdate < '1996-04-01' GROUP BY 1 ORDER BY 2 DESC FETCH FIRST ROW WITH TIES"
        )
    )
    known = h.c(
        f"SELECT s_suppkey, s_name, s_address, s_phone FROM supplier WHERE s_suppkey IN ({_listed(best)}) ORDER BY 1"
    )
    return [(*row, best[row[0]]) for row in known]


def q17(h: Hand, sql: str) -> list[Row]:
    ((parts,),) = h.c(
        "SELECT string_agg(p_partkey, ',') FROM part WHERE p_brand = 'Brand#23' AND p_container = 'MED BOX'"
    )
    ((total,),) = h.a(
        "SELECT sum(l_extendedprice) FROM (SELECT l_extendedprice, l_quantity, "
        "avg(l_quantity) OVER (PARTITION BY l_partkey) AS mean "
        f"FROM lineitem WHERE l_partkey = ANY({_array(parts)})) AS l WHERE l_quantity < 0.2 * round(mean, 2)"
    )
    return [(_over(total, 7, 2),)]


def q18(h: Hand, sql: str) -> list[Row]:
    """In two halves of the keys; the primary key gives the order, so that nothing is hashed."""
    ((middle,),) = h.a("SELECT max(l_orderkey) / 2 FROM lineitem")
    halves = h.at_once(
        *(
            _call(
                h.a,
                f"SELECT l_orderkey, sum(l_quantity) FROM lineitem WHERE l_orderkey {side} {middle} "
                "GROUP BY 1 HAVING sum(l_quantity) > 300",
            )
            for side in ("<=", ">")
        )
    )
    large = _by_key(itertools.chain.from_iterable(halves))
    orders = h.a(
        f"SELECT o_custkey, o_orderkey, o_orderdate, o_totalprice FROM orders WHERE o_orderkey = ANY({_array(large)})"
    )
    customers = _listed(order[0] for order in orders)
    names = _by_key(h.b(f"SELECT c_custkey, c_name FROM customer WHERE c_custkey IN ({customers})"))
    found = [(names[order[0]], *order, large[order[1]]) for order in orders if order[0] in names]
    return sorted(found, key=lambda row: (-row[4], row[3]))[:100]


def q19(h: Hand, sql: str) -> list[Row]:
    """Each part with the least quantity that counts; the greatest is ten more."""
    kinds = (
        ("Brand#12", 5, 1, ("SM CASE", "SM BOX", "SM PACK", "SM PKG")),
        ("Brand#23", 10, 10, ("MED BAG", "MED BOX", "MED PKG", "MED PACK")),
        ("Brand#34", 15, 20, ("LG CASE", "LG BOX", "LG PACK", "LG PKG")),
    )
    cases = " ".join(
        f"WHEN p_brand = '{brand}' AND p_size BETWEEN 1 AND {size} AND p_container IN {containers} THEN {least}"
        for brand, size, least, containers in kinds
    )
    parts, least = h.c(
        "SELECT string_agg(p_partkey, ','), string_agg(least, ',') "
        f"FROM (SELECT p_partkey, CASE {cases} END AS least FROM part) WHERE least IS NOT NULL"
    )[0]
    return h.a(
        f"SELECT {REVENUE} FROM unnest({_array(parts)}, {_array(least)}) AS p(part, least) "
        "JOIN lineitem ON l_partkey = part AND l_quantity BETWEEN least AND least + 10 "
        "WHERE l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON'"
    )


def q20(h: Hand, sql: str) -> list[Row]:
    (nation,) = h.nations("CANADA")
    parts, suppliers, held = h.c(
        "SELECT string_agg(ps_partkey, ','), string_agg(ps_suppkey, ','), string_agg(ps_availqty, ',') FROM partsupp "
        "JOIN part ON p_partkey = ps_partkey JOIN supplier ON s_suppkey = ps_suppkey "
        f"WHERE p_name LIKE 'forest%' AND s_nationkey = {nation}"
    )[0]
    found = h.a(
        f"SELECT DISTINCT supplier FROM unnest({_array(parts)}, {_array(suppliers)}, {_array(held)}) "
        "AS p(part, supplier, held) WHERE held > (SELECT 0.5 * sum(l_quantity) FROM lineitem WHERE l_partkey = part "
        "AND l_suppkey = supplier AND l_shipdate >= '1994-01-01' AND l_shipdate < '1995-01-01')"
    )
    keys = _listed(key for (key,) in found)
    return h.c(f"SELECT s_name, s_address FROM supplier WHERE s_suppkey IN ({keys}) ORDER BY 1")


def q21(h: Hand, sql: str) -> list[Row]:
    (nation,) = h.nations("SAUDI ARABIA")
    names = _by_key(h.c(f"SELECT s_suppkey, s_name FROM supplier WHERE s_nationkey = {nation}"))
    found = h.a(
        "SELECT l1.l_suppkey, count(*) FROM lineitem AS l1 JOIN orders ON o_orderkey = l1.l_orderkey "
        "WHERE o_orderstatus = 'F' AND l1.l_receiptdate > l1.l_commitdate "
        f"AND l1.l_suppkey = ANY({_array(names)}) "
        "AND EXISTS (SELECT FROM lineitem AS l2 WHERE l2.l_orderkey = l1.l_orderkey AND l2.l_suppkey <> l1.l_suppkey) "
        "AND NOT EXISTS (SELECT FROM lineitem AS l3 WHERE l3.l_orderkey = l1.l_orderkey "
        "AND l3.l_suppkey <> l1.l_suppkey AND l3.l_receiptdate > l3.l_commitdate) GROUP BY 1"
    )
    return sorted(((names[key], n) for key, n in found), key=lambda row: (-row[1], row[0]))[:100]


def q22(h: Hand, sql: str) -> list[Row]:
    """A tells which of B's rich customers have no order; their balances stay here."""
    codes = "substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17')"
    ((listed,),) = h.b(
        "SELECT group_concat(c_custkey, ',', substring(c_phone FROM 1 FOR 2), ',', replace(c_acctbal, '.', '')) "
        f"FROM customer WHERE {codes} AND c_acctbal > "
        f"(SELECT round(avg(c_acctbal), 2) FROM customer WHERE c_acctbal > 0 AND {codes})"
    )
    rich = _numbers(listed).reshape(-1, 3)
    ((places,),) = h.a(
        f"SELECT array_agg(place::int) FROM unnest({_array(rich[:, 0].tolist())}) WITH ORDINALITY AS c(key, place) "
        "WHERE NOT EXISTS (SELECT FROM orders WHERE o_custkey = key)"
    )
    kept = rich[places - 1]
    return [
        (str(code), int(own.size), Decimal(int(own.sum())).scaleb(-2))
        for code in np.unique(kept[:, 1])
        for own in (kept[kept[:, 1] == code, 2],)
    ]


# ---- what people ask


def u1(h: Hand, sql: str) -> list[Row]:
    (key,) = re.findall(r"o_orderkey = (\d+)", sql)
    found = h.a("SELECT o_custkey, o_orderkey, o_totalprice, o_orderdate FROM orders WHERE o_orderkey = %s", int(key))
    return [
        (name, balance, *order)
        for customer, *order in found
        for name, balance in h.b("SELECT c_name, c_acctbal FROM customer WHERE c_custkey = %s", customer)
    ]


def u2(h: Hand, sql: str) -> list[Row]:
    (brand,) = re.findall(r"p_brand = '(.*?)'", sql)
    parts = _by_key(h.c(
        "SELECT p_partkey, p_name FROM part "
        f"WHERE p_brand = '{brand}' AND p_container = 'JUMBO BOX' AND p_size < 10"
    ))  # fmt: skip
    lines = h.a(
        "SELECT o_custkey, o_orderkey, l_partkey, sum(l_quantity) FROM lineitem JOIN orders ON o_orderkey = l_orderkey "
        f"WHERE l_partkey = ANY({_array(parts)}) GROUP BY 1, 2, 3"
    )
    customers = ", ".join({str(line[0]) for line in lines}) or "NULL"
    names = _by_key(
        h.b(f"SELECT c_custkey, c_name FROM customer WHERE c_mktsegment = 'MACHINERY' AND c_custkey IN ({customers})")
    )
    found: dict[Row, Decimal] = defaultdict(Decimal)
    for customer, order, part, quantity in lines:
        if customer in names:
            found[names[customer], order, parts[part]] += quantity
    return [(*key, quantity) for key, quantity in found.items()]


def u3(h: Hand, sql: str) -> list[Row]:
    (day,) = re.findall(r"DATE '(.*?)'", sql)

    def first(limit: str) -> list[Row]:
        orders = h.a(
            "SELECT o_orderkey, o_totalprice, o_custkey FROM orders "
            f"WHERE o_orderdate >= '{day}' ORDER BY 2 DESC, 1 {limit}"
        )
        keys = _listed(customer for _, _, customer in orders)
        names = _by_key(h.b(f"SELECT c_custkey, c_name FROM customer WHERE c_custkey IN ({keys})"))
        return [(key, price, names[customer]) for key, price, customer in orders if customer in names]

    return _first(20, first)


def u4(h: Hand, sql: str) -> list[Row]:
    (day,) = re.findall(r"DATE '(.*?)'", sql)
    names = h.nations()
    customers = h.customers(names)
    found = h.a(
        f"SELECT n[o_custkey], {YEAR}, count(*), sum(o_totalprice) "
        f"FROM (SELECT {customers} AS n) AS maps, orders WHERE o_orderdate >= '{day}' GROUP BY 1, 2"
    )
    return [(names[nation], *rest) for nation, *rest in found if nation in names]


def u5(h: Hand, sql: str) -> list[Row]:
    """DuckDB's scanner decodes PostgreSQL's binary rows with less work than any other driver."""
    h.duck.ask(f"FROM postgres_query('a', '{sql}')", wanted=False)
    return []


def u6(h: Hand, sql: str) -> list[Row]:
    if "orders" in sql and "customer" in sql:
        return [(name, day, price) for name, _, _, price, day in u1(h, sql)]
    return h.b(sql) if "customer" in sql else h.a(sql)


def u7(h: Hand, sql: str) -> list[Row]:
    """Summed here, like q13: A would make 200,000 groups."""
    (day,) = re.findall(r"DATE '(.*?)'", sql)
    halves = h.halves(
        f"SELECT {_whole('l_partkey')}, {_cents('l_quantity')} FROM lineitem WHERE l_shipdate >= '{day}' AND {{half}}",
        "lineitem",
    )
    parts, cents = (np.concatenate(column) for column in zip(*halves, strict=True))
    shipped = np.flatnonzero(np.bincount(parts))
    found = h.c(
        "SELECT p_brand, sum(stock), sum(cents)::decimal(38, 0) FROM part "
        "JOIN (SELECT ps_partkey, sum(ps_availqty) AS stock FROM partsupp GROUP BY 1) ON ps_partkey = p_partkey "
        "JOIN shipped ON part = p_partkey GROUP BY 1",
        shipped={"part": shipped, "cents": np.bincount(parts, cents).astype(np.int64)[shipped]},
    )
    return [(brand, stock, total.scaleb(-2)) for brand, stock, total in found]


def u8(h: Hand, sql: str) -> list[Row]:
    (keys,) = re.findall(r"IN \((.*?)\)", sql)
    orders, customers = h.at_once(
        lambda: h.a(
            "SELECT o_custkey, count(*), sum(o_totalprice) FROM orders "
            f"WHERE o_custkey = ANY({_array(keys)}) GROUP BY 1"
        ),
        lambda: _by_key(h.b(f"SELECT c_custkey, c_name FROM customer WHERE c_custkey IN ({keys})")),
    )
    return [(key, customers[key], *rest) for key, *rest in orders if key in customers]


PROGRAMS: dict[str, Callable[[Hand, str], list[Row]]] = {
    "q01": q01, "q02": q02, "q03": q03, "q04": of_a, "q05": q05, "q06": of_a, "q07": q07, "q08": q08, "q09": q09,
    "q10": q10, "q11": q11, "q12": q12, "q13": q13, "q14": q14, "q15": q15, "q16": of_c, "q17": q17, "q18": q18,
    "q19": q19, "q20": q20, "q21": q21, "q22": q22,
    "u0": of_b, "u1": u1, "u2": u2, "u3": u3, "u4": u4, "u5": u5, "u6": u6, "u7": u7, "u8": u8,
}  # fmt: skip
