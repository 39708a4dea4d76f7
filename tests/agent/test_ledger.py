"""The ledger: every change of history is found, every fragment has its two records, heads are witnessed."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import ledger
from catalog.errors import CityError, Outcome
from catalog.exchange import Head
from catalog.keys import KeyRing, SigningKey, verify
from catalog.ledger import GENESIS, Ledger, LedgerError, head_bytes, read_back, read_ledger, record_hash, verify_ledger
from connectors.agent.service import Agent
from connectors.base import SourceError
from tests.agent.conftest import PEOPLE_DDL, POLICY, USAGE_DDL, people
from tests.agent.house import WITNESS, Cut, House

KEY = SigningKey.generate()
COUNT = "SELECT count(*) AS c0 FROM water.main.people AS t"


def written(path: Path, count: int = 8) -> list[Head]:
    ledger = Ledger(path, KEY)
    heads = [ledger.append("refusal", {"n": i, "who": "ana"}) for i in range(count)]
    ledger.close()
    return heads


def test_a_chain_verifies_and_continues_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    first = written(path)
    second = written(path, 3)
    assert [h.seq for h in (*first, *second)] == list(range(1, 12))
    report = verify_ledger(path, KEY.public_jwk, [first[2], second[0]])
    assert report.good
    assert report.records == 11


def test_an_empty_ledger_is_good_and_a_missing_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(b"")
    assert verify_ledger(path, KEY.public_jwk).good
    assert verify_ledger(tmp_path / "none", KEY.public_jwk).bad_seq == 1


@given(data=st.data())
@settings(max_examples=120)
def test_any_flipped_byte_names_the_record_it_is_in(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "l.jsonl"
    written(path, 4)
    original = path.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(changed))
    report = verify_ledger(path, KEY.public_jwk)
    line = original[:place].count(b"\n") + 1
    if place == len(original) - 1:
        # The last line's own end mark: the record itself may still be whole.
        assert report.bad_seq in (4, None)
    else:
        assert report.bad_seq in (line, line + 1)


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("gone", [0, 3, 6])
def test_a_deleted_record_is_found(tmp_path: Path, gone: int) -> None:
    path = tmp_path / "l.jsonl"
    written(path)
    kept = lines(path)
    del kept[gone]
    path.write_bytes(b"".join(kept))
    assert verify_ledger(path, KEY.public_jwk).bad_seq == gone + 1


def test_swapped_records_are_found(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    written(path)
    kept = lines(path)
    kept[2], kept[3] = kept[3], kept[2]
    path.write_bytes(b"".join(kept))
    assert verify_ledger(path, KEY.public_jwk).bad_seq == 3


def test_a_cut_end_is_found_with_a_peers_heads_only(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    heads = written(path)
    path.write_bytes(b"".join(lines(path)[:5]))
    assert verify_ledger(path, KEY.public_jwk).good
    assert verify_ledger(path, KEY.public_jwk, heads[:5]).good
    assert verify_ledger(path, KEY.public_jwk, [heads[7]]).bad_seq == 6


def test_rewritten_history_with_the_real_key_is_found_by_a_peer(tmp_path: Path) -> None:
    """The owner of the key can forge a whole chain, but not what the other side has seen."""
    path = tmp_path / "l.jsonl"
    heads = written(path)
    previous, forged = GENESIS, []
    for i, line in enumerate(lines(path)):
        record: dict[str, Any] = orjson.loads(line)["r"]
        record |= {"prev": previous, "n": 99 if i == 4 else record["n"]}
        previous = record_hash(previous, record)
        signature = KEY.sign(head_bytes(i + 1, previous))
        forged.append(orjson.dumps({"r": record, "h": previous, "s": signature}, option=orjson.OPT_SORT_KEYS) + b"\n")
    path.write_bytes(b"".join(forged))
    assert verify_ledger(path, KEY.public_jwk).good
    assert verify_ledger(path, KEY.public_jwk, [heads[6]]).bad_seq == 7


def test_a_peer_cannot_invent_a_fault_and_what_it_brought_is_told(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    heads = written(path)
    other = SigningKey.generate()
    forged = [Head(seq=n, hash="00" * 32, signature=other.sign(head_bytes(n, "00" * 32))) for n in (3, 99)]
    unsigned = Head(seq=8, hash=heads[7].hash)
    report = verify_ledger(path, KEY.public_jwk, [*forged, heads[2], unsigned, heads[7]])
    assert (report.good, report.witnessed, report.foreign) == (True, 2, 3)


def test_a_clock_that_steps_back_breaks_nothing(tmp_path: Path) -> None:
    """Also over a restart: the time of a record is the clock's or its predecessor's, whichever is later."""
    path = tmp_path / "l.jsonl"
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    ledger = Ledger(path, KEY)
    ledger.append("look", {}, noon)
    ledger.append("look", {}, noon - timedelta(hours=1))
    ledger.close()
    ledger = Ledger(path, KEY)
    ledger.append("look", {}, noon - timedelta(minutes=30))
    ledger.append("look", {}, noon + timedelta(seconds=1))
    ledger.close()
    assert verify_ledger(path, KEY.public_jwk).good
    told = [(r["time"][11:19], r.get("clock", "")[11:19]) for r in read_ledger(path)]
    assert told == [("12:00:00", ""), ("12:00:00", "11:00:00"), ("12:00:00", "11:30:00"), ("12:00:01", "")]


def test_a_ledger_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "l.jsonl"
    written(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)  # as a release before this one left it
    written(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# ---- keys of a ledger that end -------------------------------------------------------------------------------


class Now:
    """A clock for key rings, unix seconds."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


def revoked_at_noon(folder: Path) -> tuple[Path, KeyRing, SigningKey, Now]:
    """A ledger whose key was revoked after five records, and that went on with another."""
    now = Now()
    ring = KeyRing.create(folder / "ledger.key", now=now)
    thief, path = ring.signing(), folder / "l.jsonl"
    ledger = Ledger(path, ring)
    for _ in range(5):
        ledger.append("look", {}, now.time)
        now.at += 60
    ring.revoke(thief.kid)
    now.at += 60
    ledger.append("look", {}, now.time)
    ledger.close()
    return path, ring, thief, now


def test_a_revoked_key_vouches_for_what_it_signed_before(tmp_path: Path) -> None:
    path, ring, _, now = revoked_at_noon(tmp_path)
    assert verify_ledger(path, ring.public()).good
    ring.rotate(int(now.at), 3600)
    ledger = Ledger(path, ring)
    ledger.append("look", {}, now.time)
    ledger.close()
    assert verify_ledger(path, ring.public()).good


@pytest.mark.parametrize("told", [None, "clock"])
def test_a_revoked_key_signs_no_record_after_that(tmp_path: Path, told: str | None) -> None:
    """Neither openly, nor by a record that says that it was made before."""
    path, ring, thief, now = revoked_at_noon(tmp_path)
    stolen = Ledger(path, thief)
    before = (now.time - timedelta(hours=1)).isoformat(timespec="microseconds")
    stolen.append("look", {} if told is None else {told: before}, now.time)
    stolen.close()
    report = verify_ledger(path, ring.public())
    assert (report.bad_seq, report.fault) == (7, "signed by a key that was revoked")


async def test_without_its_key_the_ledger_is_not_written_and_a_query_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path, POLICY, {"people": (PEOPLE_DDL, people()), "usage": (USAGE_DDL, [])})
    agent = house.open()
    key = tmp_path / "state" / "ledger.key"
    async with house.client("lin", "mass-balance", agent) as ask:
        key.rename(tmp_path / "away")
        response = await ask.send("POST", "/v1/fragment", ask.fragment(COUNT))
        assert (response.status_code, response.json()["outcome"]) == (500, "EXECUTION")
        assert (await ask.send("GET", "/v1/ledger/head")).status_code == 500
        with pytest.raises(LedgerError, match="cannot be signed"):
            agent.ledger.append("look", {})
        assert agent.running == 0
        (tmp_path / "away").rename(key)
        assert (await ask.rows(COUNT)).num_rows == 1
    agent.close()


async def test_an_answer_that_cannot_be_signed_has_no_end_and_holds_no_place(tmp_path: Path) -> None:
    house = House(tmp_path, POLICY, {"people": (PEOPLE_DDL, people()), "usage": (USAGE_DDL, [])})
    house.write(limits={"concurrent": 1})
    agent = house.open()
    key = tmp_path / "state" / "receipt.key"
    async with house.client("lin", "mass-balance", agent) as ask:
        key.rename(tmp_path / "away")
        for _ in range(2):
            with pytest.raises(Cut):
                await ask.rows(COUNT)
        (tmp_path / "away").rename(key)
        assert (await ask.rows(COUNT)).num_rows == 1
        assert agent.running == 0
    agent.close()


async def test_a_policy_that_could_not_be_recorded_is_in_force_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, POLICY, {"people": (PEOPLE_DDL, people()), "usage": (USAGE_DDL, [])})
    agent = house.open()
    for broken in ([], [{**POLICY["grants"][0], "mode": "maskd"}]):
        async with house.client("lin", "mass-balance", agent) as ask:
            with monkeypatch.context() as full:
                full.setattr(agent.ledger, "_write", _fails)
                house.write(grants=broken)
                for _ in range(2):
                    assert (await ask.refusal(COUNT)).outcome is Outcome.EXECUTION
            assert (await ask.refusal(COUNT)).outcome in (Outcome.NOT_AVAILABLE, Outcome.CLOSED)
            kinds = [r["kind"] for r in agent.ledger.records()]
            assert kinds[-2:] == ["policy_refused" if broken else "policy", "refusal"]
            house.write(grants=POLICY["grants"])
            assert (await ask.rows(COUNT)).num_rows == 1
    agent.close()


def _fails(line: bytes) -> None:
    raise LedgerError("the disk is full")


def test_an_agent_that_ends_holds_no_file_of_its_state(tmp_path: Path) -> None:
    house = House(tmp_path, POLICY, {"people": (PEOPLE_DDL, []), "usage": (USAGE_DDL, [])})
    agent = house.open()
    agent.replay.claim("a" * 20, time.time() + 60, time.time())
    agent.close()
    state = str(tmp_path / "state")
    held = [link for fd in Path("/proc/self/fd").iterdir() if (link := _target(fd)).startswith(state)]
    assert held == []


def _target(fd: Path) -> str:
    try:
        return os.readlink(fd)
    except OSError:
        return ""


def test_a_line_cut_by_a_crash_is_taken_off_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    written(path, 3)
    path.write_bytes(path.read_bytes() + b'{"r": {"seq": 4, "ki')
    written(path, 1)
    assert verify_ledger(path, KEY.public_jwk).records == 4


def test_a_record_that_is_being_written_is_not_one_yet(tmp_path: Path) -> None:
    """A ledger may be read and verified while its writer is at work."""
    path = tmp_path / "l.jsonl"
    written(path, 3)
    path.write_bytes(path.read_bytes() + b'{"r": {"seq": 4, "ki')
    report = verify_ledger(path, KEY.public_jwk)
    assert (report.good, report.records) == (True, 3)
    assert [record["seq"] for record in read_ledger(path)] == [1, 2, 3]
    assert [record["seq"] for record in read_back(path)] == [3, 2, 1]


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(0, 90), max_size=12), torn=st.integers(0, 90), block=st.integers(1, 64))
def test_a_ledger_reads_backwards_as_forwards_whatever_is_read_at_once(sizes: list[int], torn: int, block: int) -> None:
    lines = [orjson.dumps({"r": {"seq": i, "pad": "x" * n}, "h": "", "s": ""}) + b"\n" for i, n in enumerate(sizes)]
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "TAIL", block)
        file.write(b"".join(lines) + b"z" * torn)
        file.flush()
        forwards = [record["seq"] for record in read_ledger(file.name)]
        assert [record["seq"] for record in read_back(file.name)] == forwards[::-1]


def test_a_ledger_whose_end_is_damaged_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_bytes(b"not a record\n")
    with pytest.raises(LedgerError):
        Ledger(path, KEY)


async def test_a_fragment_has_a_begin_and_an_end_and_its_receipt_proves_the_end(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        await ask.rows("SELECT count(*) AS c0 FROM water.main.people AS t", witness=WITNESS)
        end = ask.end
    assert end is not None
    assert end.receipt is not None
    path = house.folder / "state" / "ledger.jsonl"
    begin, last = list(read_ledger(path))[-2:]
    assert (begin["kind"], last["kind"]) == ("begin", "end")
    assert begin["witness"]["seq"] == 7
    assert begin["masks"][0].startswith("people.")
    assert begin["grants"] == ["people-masked"]
    assert (last["outcome"], last["rows"], last["delivered"]) == ("OK", 1, end.receipt.delivered)
    assert (end.receipt.ledger.seq, end.receipt.ledger.hash) == (last["seq"], last["hash"])
    assert verify(agent.receipt_jwk(), end.signed_bytes(), end.signature)
    forged = end.model_copy(update={"rows": 2})
    assert not verify(agent.receipt_jwk(), forged.signed_bytes(), end.signature)
    report = verify_ledger(path, agent.ledger._key.public_jwk, [end.receipt.ledger])
    assert report.good
    assert report.unfinished == ()


async def test_a_refusal_is_one_record_with_a_hash_and_no_text(house: House, agent: Agent) -> None:
    async with house.client("lin", "mass-balance", agent) as ask:
        await ask.refusal("SELECT t.x AS c0 FROM water.main.canary_4711 AS t")
    *_, last = read_ledger(house.folder / "state" / "ledger.jsonl")
    assert (last["kind"], last["outcome"], last["sub"]) == ("refusal", "NOT_AVAILABLE", "lin")
    assert b"canary_4711" not in (house.folder / "state" / "ledger.jsonl").read_bytes()


async def test_a_question_whose_source_failed_has_a_begin_and_an_end(
    house: House, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is at work while the beginning is written: what was begun is ended, not refused."""

    def fails(*_: Any) -> Any:
        raise SourceError("the disk is gone")

    (name,) = agent._sources
    monkeypatch.setattr(agent._sources[name], "scan", fails)
    async with house.client("lin", "mass-balance", agent) as ask:
        refusal = await ask.refusal("SELECT t.id AS c0 FROM water.main.people AS t")
    assert "the disk" not in str(refusal)
    *_, begin, end = read_ledger(house.folder / "state" / "ledger.jsonl")
    assert [begin["kind"], end["kind"]] == ["begin", "end"]
    assert (begin["relations"], end["outcome"], end["rows"]) == (["people"], refusal.outcome.name, 0)
    assert refusal.outcome is not Outcome.OK
    assert agent.running == 0


async def test_no_answer_without_a_ledger(tmp_path: Path) -> None:
    house = House(tmp_path, POLICY, {"people": (PEOPLE_DDL, people()), "usage": (USAGE_DDL, [])})
    broken = house.open()
    broken.ledger._file.close()
    async with house.client("lin", "mass-balance", broken) as ask:
        with pytest.raises(CityError, match=r"ledger|could not answer"):
            await ask.rows("SELECT count(*) AS c0 FROM water.main.people AS t")
    with pytest.raises(LedgerError):
        broken.close()


def test_a_second_agent_over_the_same_state_does_not_open(house: House, agent: Agent) -> None:
    """It would fork the chain and clear the first one's spilled work."""
    with pytest.raises(LedgerError, match="another process writes this ledger"):
        house.open()
    assert agent.status()["policy_fault"] == ""


def test_a_ledger_is_free_again_once_its_agent_ends(tmp_path: Path) -> None:
    written(tmp_path / "l.jsonl", 2)
    again = Ledger(tmp_path / "l.jsonl", KEY)
    assert again.head.seq == 2
    again.close()
