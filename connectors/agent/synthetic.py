"""Generated rows in place of a relation's own, for grants of mode `synthetic`.

A relation under such a grant has no silo any more: `authorise` gives it `STAND_IN` as its source, which is this
one. It makes rows of what the owner declared (types, ranges, code lists, formats, examples) and of nothing else; it
holds no connection, and nothing here can open one. Masks, the query, limits, ledger and receipt follow as for any
other source. A row filter chooses among real rows and is not asked: each generated row stands for one that passed.

    StandIn.scan       the rows of one relation, as the scan of a silo would deliver them
    keys               the numbered keys of a domain: equal in every department, so that generated rows join
    blinded            masks for generated values: their pseudonyms and tokens are others than those of real ones

Rows are the same for every question as long as what decides them is the same: draws come of a seed keyed by the
agent's secret, per relation, column and declaration. Keys of a domain come of its name alone. Where the owner says
`fit`, columns follow cells that were released before (`Fitted`), by the guard, into its history; those are public
by then, and no other figure of the silo gets here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog import masks
from catalog.exchange import canonical_json, sha256
from catalog.policy import Department, Fit, RelationSpec
from catalog.policy.models import ColumnSpec
from catalog.policy.synthetic import ALPHABETS, default_format, is_joined, places, typed
from catalog.relation import Linkage
from catalog.types import TrinoType
from connectors.base import Cancel, Capabilities, NativeScan, Source, SourceError, SourceTable

__all__ = ["STAND_IN", "Fitted", "Settled", "StandIn", "blinded", "fit_key", "keys", "notice"]

STAND_IN = "$synthetic"
"""The name of this source; no entry of `sources:` can have it."""
BATCH = 8192
DAY = 86_400
_DAYS = (date(2015, 1, 1), date(2024, 12, 31))
_WORDS = 50
"""Different texts in a column of which nothing is said: few enough to group by."""

Draws = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """Cells that `aggregate` released. key: `fit_key` of what was asked. counts: rows in each cell.

    cells: the values of `by`, then the average of each measure, as text.
    """

    key: str
    by: tuple[str, ...]
    averages: tuple[str, ...]
    cells: tuple[tuple[str | None, ...], ...]
    counts: tuple[int, ...]


class Settled(Fit):
    """A fit at one moment. under: a digest of what decides its answer: all grants together, and what they read."""

    under: str


def fit_key(department: Department, relation: str, fit: Fit) -> str:
    """A digest of what a fit asks and, once it is settled, of what decides its answer: another one, another fit."""
    return sha256(canonical_json([department.department, relation, fit.model_dump(mode="json")]))


def notice(name: str) -> str:
    """What is said beside every answer of generated rows. name: full name of the relation."""
    return f"synthetic rows: not real data ({name})"


# ---- masks ---------------------------------------------------------------------------------------------------


def blinded(context: masks.Context) -> masks.Context:
    """The same masks with other keys.

    Under the real ones a generated value that happens to occur would show the pseudonym of the real one: whoever
    knows the format could look names up. Nor does the vault learn values that nobody has.
    """
    linkage = context.linkage
    vault = None if context.vault is None else _Tokens(context.vault.linkage)
    return replace(context, linkage=None if linkage is None else lambda group: _apart(linkage(group)), vault=vault)


def _apart(key: masks.LinkageKey) -> masks.LinkageKey:
    """Another epoch to everybody: planners refuse to compare it with the real one."""
    fresh = hmac.new(key.key, b"atoll-synthetic-v1", "sha256").digest()
    return replace(key, key=fresh, epoch=_apart_epoch(key.epoch))


def _apart_epoch(epoch: str) -> str:
    return f"{epoch} synthetic".strip()


class _Tokens:
    """A vault that keeps nothing: the token of a generated value can be told by anybody who knows the value."""

    def __init__(self, linkage: Linkage) -> None:
        self.linkage = linkage.model_copy(update={"epoch": _apart_epoch(linkage.epoch)})

    def tokens(self, values: Iterable[str]) -> dict[str, str]:
        named = self.linkage.model_dump_json()
        return {v: sha256(f"atoll-synthetic-v1|token|{named}|{v}")[:32] for v in values}


# ---- the source ----------------------------------------------------------------------------------------------


class StandIn(Source):
    """Every generated relation of one policy. secret: the agent's own. fitted: relation -> cells it follows, if any."""

    kind: ClassVar[str] = "synthetic"
    dialect: ClassVar[str] = "duckdb"

    def __init__(
        self, department: Department, secret: bytes, fitted: Callable[[str], Fitted | None] = lambda _: None
    ) -> None:
        self._department = department
        self._secret = secret
        self._fitted = cache(fitted)  # all columns follow the same cells

    def tables(self) -> list[SourceTable]:
        return []

    def capabilities(self) -> Capabilities:
        """Nothing: the query is evaluated above, as over any other rows."""
        return Capabilities({})

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        """All rows of the relation that the scan names, whatever narrows it: conditions stay in the query."""
        name = scan.relation if isinstance(scan.relation, str) else ""
        spec = self._department.relations.get(name)
        if spec is None or scan.is_query or scan.group_by or scan.aggregates:
            raise SourceError(f"no generated rows of {name[:60]!r}")
        names = {(c.from_ or name): name for name, c in spec.columns.items()}
        arrays = []
        for output in scan.columns:
            cancel.check()
            arrays.append(self.column(name, names[output.column]))
        rows = spec.synthetic.rows if scan.limit is None else min(scan.limit, spec.synthetic.rows)
        for start in range(0, rows, BATCH):
            cancel.check()
            size = min(BATCH, rows - start)
            yield pa.record_batch([a.slice(start, size) for a in arrays], schema=scan.schema)

    def column(self, relation: str, name: str) -> pa.Array:
        """All generated values of one column, in its declared type."""
        spec = self._department.relations[relation]
        found = self._values(relation, spec, name)
        examples = spec.synthetic.examples
        if any(name in row for row in examples):
            drawn = self._draws(relation, "examples") % np.uint64(len(examples))
            pool = pa.array([typed(row.get(name), spec.columns[name].type) for row in examples], found.type)
            given = pa.array([name in row for row in examples])
            place = pa.array(drawn.astype(np.int64))
            found = pc.if_else(given.take(place), pool.take(place), found)
        return found

    def _values(self, relation: str, spec: RelationSpec, name: str) -> pa.Array:
        column, draws = spec.columns[name], self._draws(relation, f"column {name}")
        fitted = self._cells(relation)
        if fitted is not None and name in (*fitted.by, *fitted.averages):
            return self._follow(relation, column.type, name, fitted, draws)
        found = self._plain(relation, spec, name, draws)
        if column.synthetic.nulls:
            empty = self._draws(relation, f"nulls {name}") % np.uint64(100) < np.uint64(column.synthetic.nulls)
            found = pc.if_else(pa.array(empty), pa.nulls(len(found), found.type), found)
        return found

    def _plain(self, relation: str, spec: RelationSpec, name: str, draws: Draws) -> pa.Array:
        column = spec.columns[name]
        given, kind = column.synthetic, column.type
        if given.values:
            return _picked([typed(v, kind) for v in given.values], kind, draws)
        domain = given.domain or self._linked(relation, name, column)
        unique = given.unique or _names_rows(spec, name, domain)
        if domain or unique or is_joined(column):
            own = domain or f"{self._department.department}.{relation}.{name}"
            size = max(given.size, spec.synthetic.rows) if unique and not domain else given.size
            known = keys(own, given.format or default_format(domain), kind, size, _lowest(column))
            return _picked(known, kind, np.arange(len(draws), dtype=np.uint64) if unique else draws)
        if given.range is not None:
            low, high = (typed(v, kind) for v in given.range)
            return _between(low, high, kind, draws)
        if column.codes in self._department.code_lists:
            return _picked([typed(v, kind) for v in self._department.code_lists[column.codes]], kind, draws)
        return _any(name, kind, draws)

    def _linked(self, relation: str, name: str, column: ColumnSpec) -> str:
        """The linkage group whose pseudonyms a column shows under some grant: its keys join there."""
        given, kind = column.synthetic, column.type
        room = kind.is_text or (kind.is_integer and given.size < _limit(kind))
        if given.range is not None or given.format or column.codes or not room:
            return ""
        for grant in self._department.grants:
            text = grant.masks.get(name, "") if grant.relation == relation else ""
            word, args = masks.parse(text) if text else ("", [])
            long = kind.is_text and bool(kind.args) and kind.args[0] < len(default_format(args[0] if args else ""))
            if word == "pseudonym" and not long:
                return args[0]
        return ""

    # ---- cells that were released --------------------------------------------------------------------

    def _cells(self, relation: str) -> Fitted | None:
        found = self._fitted(relation)
        return found if found is not None and any(found.counts) else None

    def _follow(self, relation: str, kind: TrinoType, name: str, fitted: Fitted, draws: Draws) -> pa.Array:
        """Cells as often as they count; measures about their cell's average, which they keep."""
        ends = np.cumsum(np.array(fitted.counts, dtype=np.uint64))
        drawn = self._draws(relation, "cells") % ends[-1]
        cell: Ints = np.searchsorted(ends, drawn, side="right").astype(np.int64)
        at = [*fitted.by, *fitted.averages].index(name)
        pool = [row[at] for row in fitted.cells]
        if name in fitted.by:
            return pa.array([typed(v, kind) for v in pool], kind.arrow()).take(pa.array(cell))
        middle = np.array([np.nan if v is None else float(v) for v in pool])[cell]
        return _number(middle * (0.5 + _share(draws)), kind)

    # ---- draws ---------------------------------------------------------------------------------------

    def _draws(self, relation: str, what: str) -> Draws:
        """One 64-bit number a row. The generator's raw stream is the same in every release of numpy."""
        spec = self._department.relations[relation]
        told = canonical_json([self._department.department, relation, _declaration(spec), what])
        digest = hmac.new(self._secret, b"atoll-synthetic-v1|" + told, "sha256").digest()
        seed = np.frombuffer(digest[:16], dtype="<u8")
        drawn: Draws = np.random.Philox(key=seed).random_raw(spec.synthetic.rows)
        return drawn

    def close(self) -> None:
        return None


def _declaration(spec: RelationSpec) -> str:
    """A digest of what the owner says of the rows: with another one they are drawn anew."""
    columns = {name: [str(c.type), c.codes, repr(c.synthetic)] for name, c in spec.columns.items()}
    return sha256(canonical_json([columns, repr(spec.synthetic)]))


# ---- values --------------------------------------------------------------------------------------------------


def keys(domain: str, format_: str, kind: TrinoType, size: int, lowest: int = 1) -> list[Any]:
    """The first `size` keys of a domain, all different: numbers from `lowest`, or texts of a format.

    They follow from the names alone: another department that names the same makes the same, without any secret.
    """
    if kind.is_integer:
        return list(range(lowest, lowest + size))
    count = places(format_)
    digest = hashlib.sha256(f"atoll-synthetic-v1|{domain}|{format_}".encode()).digest()
    start = int.from_bytes(digest[:16], "big") % count
    # Prime to 2, 5 and 13, so that steps meet every place of the format once.
    step = int.from_bytes(digest[16:], "big") % count | 1
    while step % 5 == 0 or step % 13 == 0:
        step += 2
    return [_written(format_, (start + step * i) % count) for i in range(min(size, count))]


def _written(format_: str, number: int) -> str:
    signs = []
    for sign in reversed(format_):
        alphabet = ALPHABETS.get(sign)
        if alphabet is not None:
            number, place = divmod(number, len(alphabet))
            sign = alphabet[place]
        signs.append(sign)
    return "".join(reversed(signs))


def _names_rows(spec: RelationSpec, name: str, domain: str) -> bool:
    """Whether a column is the relation's declared key, and there are keys enough for all rows."""
    given, kind, rows = spec.columns[name].synthetic, spec.columns[name].type, spec.synthetic.rows
    if spec.key != (name,) or given.range is not None or spec.columns[name].codes:
        return False
    if kind.is_text:
        format_ = given.format or default_format(domain)
        fits = not kind.args or len(format_) <= kind.args[0]
        return fits and places(format_) >= rows and (not domain or given.size >= rows)
    return kind.is_integer and rows < _limit(kind) and (not domain or given.size >= rows)


def _lowest(column: ColumnSpec) -> int:
    given = column.synthetic.range
    return int(typed(given[0], column.type)) if given is not None and column.type.is_integer else 1


def _picked(pool: Sequence[Any], kind: TrinoType, draws: Draws) -> pa.Array:
    place = (draws % np.uint64(len(pool))).astype(np.int64)
    return pa.array(pool, kind.arrow()).take(pa.array(place))


def _share(draws: Draws) -> npt.NDArray[np.float64]:
    """Numbers from 0 to 1, without 1."""
    shares: npt.NDArray[np.float64] = (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return shares


def _between(low: Any, high: Any, kind: TrinoType, draws: Draws) -> pa.Array:
    """Values from low to high, both among them."""
    if kind.is_integer:
        return pa.array(_whole(low, high, draws)).cast(kind.arrow())
    if kind.name == "decimal":
        scale = kind.args[1]
        return _decimals(int(low.scaleb(scale)), int(high.scaleb(scale)), kind, draws)
    if kind.name in ("real", "double"):
        return pa.array(np.round(low + _share(draws) * (high - low), 3)).cast(kind.arrow())
    if kind.name == "date":
        days = [(value - date(1970, 1, 1)).days for value in (low, high)]
        return pa.array(_whole(days[0], days[1], draws).astype(np.int32)).cast(kind.arrow())
    start = int((low.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
    seconds = _whole(0, int((high - low).total_seconds()), draws)
    unit = 1 if kind.args[0] <= 3 else 1_000
    return pa.array((start + seconds * 1_000) * unit).cast(kind.arrow())


def _whole(low: int, high: int, draws: Draws) -> Ints:
    span = high - low + 1
    drawn = draws if span >= 2**64 else draws % np.uint64(span)
    with np.errstate(over="ignore"):  # two's complement: what wraps round wraps back
        return (drawn + np.uint64(low % 2**64)).view(np.int64)


def _decimals(low: int, high: int, kind: TrinoType, draws: Draws) -> pa.Array:
    """Decimals by their unscaled values."""
    if high - low < 2**63 and max(abs(low), abs(high)) < 2**63:
        return _unscaled(_whole(low, high, draws), kind)
    scale, span = kind.args[1], high - low + 1
    exact = [low + int(d) * span // 2**64 for d in draws]
    return pa.array([Decimal((int(v < 0), Decimal(abs(v)).as_tuple().digits, -scale)) for v in exact], kind.arrow())


def _number(values: npt.NDArray[np.float64], kind: TrinoType) -> pa.Array:
    """Floating point numbers in a numeric type; NaN is NULL, and so is what does not fit."""
    empty = np.isnan(values)
    if kind.name in ("real", "double"):
        return pa.array(values, mask=empty).cast(kind.arrow())
    scale = kind.args[1] if kind.name == "decimal" else 0
    whole = np.round(np.where(empty, 0, values) * 10.0**scale)
    empty |= np.abs(whole) >= (10.0 ** min(kind.args[0], 18) if kind.name == "decimal" else _limit(kind))
    whole = np.where(empty, 0, whole).astype(np.int64)
    if kind.is_integer:
        return pa.array(whole, mask=empty).cast(kind.arrow())
    found = _unscaled(whole, kind)
    return pc.if_else(pa.array(empty), pa.nulls(len(found), found.type), found)


def _unscaled(unscaled: Ints, kind: TrinoType) -> pa.Array:
    """Decimals of their unscaled values, which Arrow keeps in 128 bits."""
    words = np.stack([unscaled, unscaled >> 63], axis=1).astype("<i8")
    return pa.Array.from_buffers(kind.arrow(), len(unscaled), [None, pa.py_buffer(words.tobytes())])


def _limit(kind: TrinoType) -> float:
    return float(2 ** ({"tinyint": 8, "smallint": 16, "integer": 32}.get(kind.name, 63) - 1))


def _any(name: str, kind: TrinoType, draws: Draws) -> pa.Array:
    """Values of a column of which nothing is said but its name and type."""
    makers: dict[str, Callable[[], pa.Array]] = {
        "boolean": lambda: _picked([False, True], kind, draws),
        "decimal": lambda: _decimals(0, min(10 ** kind.args[0] - 1, 10 ** (kind.args[1] + 3)), kind, draws),
        "double": lambda: _between(0.0, 1_000.0, kind, draws),
        "real": lambda: _between(0.0, 1_000.0, kind, draws),
        "date": lambda: _between(*_DAYS, kind, draws),
        "time": lambda: pa.array((draws % np.uint64(DAY)).astype(np.int64) * 1_000_000).cast(kind.arrow()),
        "json": lambda: _picked(["{}"], kind, draws),
        "uuid": lambda: _picked([_uuid(i) for i in range(_WORDS)], kind, draws),
        "ipaddress": lambda: _picked([f"192.0.2.{i}" for i in range(1, _WORDS)], kind, draws),
        "varbinary": lambda: _picked([b"synthetic"], kind, draws),
    }
    if kind.is_integer:
        return _between(0, 100, kind, draws)
    if kind.is_text:
        longest = kind.args[0] if kind.args else None
        return _picked([f"synthetic {name} {i}"[:longest] for i in range(1, _WORDS + 1)], kind, draws)
    if kind.name.startswith("timestamp"):
        first, last = (datetime(d.year, d.month, d.day, tzinfo=UTC) for d in _DAYS)
        return _between(first, last, kind, draws)
    if kind.name in makers:
        return makers[kind.name]()
    return pa.nulls(len(draws), kind.arrow())


def _uuid(number: int) -> str:
    text = sha256(f"atoll-synthetic-v1|uuid|{number}")
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}"
