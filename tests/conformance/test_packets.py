"""Rows as MariaDB sends them, cut into columns: whatever the cells, and however the bytes arrive."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pymysql
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import packets
from connectors.packets import FEW, Rows, columns

END = b"\xfe\x00\x00\x02\x00"
Row = tuple[bytes | None, ...]


@pytest.fixture(autouse=True, scope="module", params=[0, 1 << 40], ids=["together", "cell by cell"])
def few(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test reads its rows in both ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packets, "FEW", request.param)
        patch.setattr(packets, "FEW_BYTES", request.param)
        yield


def length(size: int) -> bytes:
    """A length as the protocol writes it."""
    for mark, width in ((0xFC, 2), (0xFD, 3), (0xFE, 8)):
        if size < 0xFB:
            return bytes([size])
        if size < 1 << 8 * width:
            return bytes([mark]) + size.to_bytes(width, "little")
    raise AssertionError


def packed(payload: bytes, longest: int = 0xFFFFFF, number: int = 0) -> bytes:
    """A payload as packets, the last one shorter than the longest there may be. number: of the first one."""
    parts = [payload[i : i + longest] for i in range(0, len(payload) + 1, longest)]
    return b"".join(len(p).to_bytes(3, "little") + bytes([i % 256]) + p for i, p in enumerate(parts, number))


def cells(row: Row) -> bytes:
    return b"".join(b"\xfb" if c is None else length(len(c)) + c for c in row)


class Connection:
    """A connection of the driver's, whose server has answered with `sent`, at most `step` bytes a read."""

    def __init__(self, sent: bytes, step: int, width: int) -> None:
        self._sent, self._step = io.BytesIO(sent), step
        self._rfile = self
        self._result = SimpleNamespace(fields=[None] * width, unbuffered_active=False, connection=self)

    def query(self, sql: str, unbuffered: bool) -> None:
        self._result.unbuffered_active = unbuffered

    def read1(self, size: int) -> bytes:
        return self._sent.read(min(size, self._step))


def read(sent: bytes, width: int, step: int = 1 << 20) -> list[Row]:
    connection: Any = Connection(sent, step, width)
    found: list[Row] = []
    for batch in Rows(connection, "SELECT").batches():
        for array in batch:
            array.validate(full=True)
        found += zip(*(array.to_pylist() for array in batch), strict=True)
    return found


CELL = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.sampled_from([249, 250, 251, 252, 253, 254, 255, 256, 65_535, 65_536, 70_000]).map(lambda n: b"\xfe" * n),
)


@settings(max_examples=80)
@given(data=st.data(), width=st.integers(1, 4), step=st.sampled_from([1, 3, 7, 1000, 1 << 20]))
def test_every_cell_comes_out_as_it_was_sent(data: st.DataObject, width: int, step: int) -> None:
    rows = data.draw(st.lists(st.tuples(*[CELL] * width), max_size=12))
    at_once = data.draw(st.sampled_from([1, 300, packets.READ_BYTES]))
    longest = data.draw(st.sampled_from([64, 300, 0xFFFFFF]))
    sent = b"".join(packed(cells(row), longest) for row in rows) + packed(END, longest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packets, "READ_BYTES", at_once)
        patch.setattr(packets, "_LONGEST", longest)
        assert read(sent, width, step if len(sent) < 5000 else max(step, 1000)) == rows


@settings(max_examples=60)
@given(data=st.data(), step=st.sampled_from([50, 1000, 1 << 20]), short=st.sampled_from([0, 3, 16]))
def test_many_narrow_rows_come_out_as_they_were_sent_whatever_looks_like_a_head(
    data: st.DataObject, step: int, short: int
) -> None:
    like_heads = st.sampled_from([b"", b"\0" * 3, b"\x05\0\0\x07", b"\x01\0\0", b"7", b"ab", b"\xfe" * 200, b"w" * 300])
    pieces = data.draw(st.lists(st.tuples(like_heads, like_heads), min_size=1, max_size=6))
    rows = [row for row in pieces for _ in range(data.draw(st.sampled_from([1, 20, 600])))]
    sent = b"".join(packed(cells(row), number=i) for i, row in enumerate(rows, 254))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packets, "_SHORT", short)
        assert read(sent + packed(END), 2, step) == rows


def test_a_row_over_several_packets_stands_between_the_others() -> None:
    large: Row = (b"x" * (1 << 24), None, b"z")
    rows: list[Row] = [(b"1", b"a", None), large, (b"2", None, b"b")]
    assert read(b"".join(packed(cells(row)) for row in rows) + packed(END), 3) == rows


def test_an_error_after_some_rows_is_raised_and_they_are_not_an_answer() -> None:
    error = b"\xff" + (1317).to_bytes(2, "little") + b"#70100Query execution was interrupted"
    with pytest.raises(pymysql.MySQLError, match="interrupted"):
        read(packed(cells((b"1",))) + packed(error), 1)


@pytest.mark.parametrize("left", [0, 3, 4, 7])
def test_a_connection_that_ends_before_the_rows_do_is_an_error(left: int) -> None:
    with pytest.raises(pymysql.OperationalError, match="lost"):
        read((packed(cells((b"1",))) * 2)[: 6 + left], 1)


def test_a_second_result_is_an_error() -> None:
    with pytest.raises(pymysql.InternalError, match="more than one"):
        read(packed(b"\xfe\x00\x00\x0a\x00"), 1)


@pytest.mark.parametrize("others", [0, FEW])
@pytest.mark.parametrize(
    "row",
    [
        b"\x05ab",
        b"\x01ab",
        b"\xfc\x01",
        b"",
        b"\xfe" + b"\xff" * 8,
        b"\xfe\xa0" + b"\xff" * 6 + b"\x7f",
        b"\x02ab\x00\x00",
    ],
)
def test_cells_that_do_not_fit_their_packet_are_an_error(row: bytes, others: int) -> None:
    good = b"\x01a\x01b" * others
    places = [(4 * i, 4 * i + 4) for i in range(others)]
    with pytest.raises(pymysql.InternalError, match="a row of the server"):
        columns(good + row, np.array([*places, (len(good), len(good + row))]), 2)
