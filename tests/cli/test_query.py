"""`atoll query` and `atoll explain` as a person meets them: tables, files, refusals, exit codes."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.stub_gateway import ERRORS, EVIL, TOKEN, Run, Stub, arrow_bytes

REFUSED = "SELECT ward FROM health.main.stay"
MISTYPED = "SELECT\n  distrct_code FROM water.main.account"


def test_a_table_shows_names_and_types_numbers_to_the_right_and_null_as_a_word(atoll: Run) -> None:
    done = atoll("query", "SELECT 1")
    assert done.code == 0
    lines = done.out.splitlines()
    assert "district_code" in lines[1]
    assert "varchar(6)" in lines[2]
    assert "decimal(18,3)" in lines[2]
    first = next(line for line in lines if "449901" in line).split("│")
    assert first[2].endswith("12 ")
    assert first[3].endswith("1234.500 ")
    assert first[4].strip() == "NULL"


def test_the_grey_line_says_who_answered_how_long_what_was_masked_and_the_receipt(atoll: Run) -> None:
    done = atoll("query", "SELECT 1")
    assert done.err.splitlines() == [
        "! 2 cells are absent: fewer than 10 persons.",
        "1 department (water) · 3 rows · 1.3 s · masks: account.phone: deny · 2 cells absent · receipt water-000042",
    ]


def test_data_cannot_command_the_terminal(atoll: Run) -> None:
    for form in ("table", "md"):
        done = atoll("query", "--format", form, "SELECT 1")
        assert "\x1b" not in done.out
        assert "\x07" not in done.out
        assert "␛[31mred␇" in done.out


def test_a_piped_table_is_not_folded_and_a_narrow_terminal_gets_one_block_a_row(atoll: Run) -> None:
    assert EVIL.split(" \x1b")[0] in atoll("query", "SELECT 1").out
    narrow = atoll("query", "SELECT 1", env={"COLUMNS": "40"}).out
    assert "─ row 1 ─" in narrow
    assert max(map(len, narrow.splitlines())) <= 40
    assert "449901" in narrow


def test_a_long_table_stops_and_says_how_to_see_the_rest(atoll: Run) -> None:
    short = atoll("query", "SELECT many", "--max-rows", "10").out
    assert "990 more rows" in short
    assert "--max-rows 0" in short
    assert len(atoll("query", "SELECT many", "--max-rows", "0").out.splitlines()) == 1005


def test_json_is_the_whole_answer_and_nothing_else_on_stdout(atoll: Run) -> None:
    for flags in (["--json"], ["--format", "json"]):
        done = atoll("query", *flags, "SELECT 1")
        answer = json.loads(done.out)
        assert answer["rows"][0] == ["449901", 12, "1234.500", None]
        assert answer["departments"][0]["receipts"] == ["water-000042"]


def test_markdown_is_a_table_that_markdown_readers_take(atoll: Run) -> None:
    lines = atoll("query", "--format", "md", "SELECT 1").out.splitlines()
    assert lines[0] == "| district_code | n | qty | note |"
    assert lines[1] == "| --- | ---: | ---: | --- |"
    assert lines[2] == "| 449901 | 12 | 1234.500 | NULL |"


def test_csv_arrow_and_parquet_are_written_as_they_come(atoll: Run, tmp_path: Path) -> None:
    assert atoll("query", "--format", "csv", "SELECT 1").out.splitlines()[1] == "449901,12,1234.500,"
    piped = atoll("query", "--format", "arrow", "SELECT 1")
    assert piped.raw == arrow_bytes()
    done = atoll("query", "--format", "parquet", "--output", "a.parquet", "SELECT 1")
    assert done.code == 0
    assert pq.read_table(tmp_path / "a.parquet").to_pydict() == {"n": [1, 2, 3], "name": ["a", None, "c"]}
    assert "1 department (water)" in done.err
    assert pa.ipc.open_stream(io.BytesIO(piped.raw)).read_all().num_rows == 3


@pytest.mark.parametrize("form", ["table", "json", "md", "csv"])
def test_every_text_form_can_go_to_a_file(atoll: Run, tmp_path: Path, form: str) -> None:
    done = atoll("query", "--format", form, "-o", "answer.txt", "SELECT 1")
    assert (done.code, done.out) == (0, "")
    assert "449901" in (tmp_path / "answer.txt").read_text()


def test_an_answer_that_is_cut_leaves_no_file_and_exits_1(atoll: Run, tmp_path: Path) -> None:
    done = atoll("query", "--format", "csv", "-o", "a.csv", "SELECT cut")
    assert done.code == 1
    assert "cut short" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_says_who_refused_which_rule_and_what_next(atoll: Run) -> None:
    done = atoll("query", REFUSED)
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == [
        "✗ health refused: Rows of stay are not shown.  PERMISSION_DENIED",
        "  rule  aggregate mode",
        "  next  Ask for sums by district: floor 10 persons.",
    ]


def test_a_refusal_in_json_is_json_too(atoll: Run) -> None:
    done = atoll("query", "--json", REFUSED)
    assert done.code == 1
    assert json.loads(done.out) == {"error": ERRORS[REFUSED].to_dict()}


def test_a_typing_error_has_carets_under_the_word(atoll: Run) -> None:
    lines = atoll("query", MISTYPED).err.splitlines()
    assert lines[0].startswith("✗ gateway refused: Column 'distrct_code' does not exist.")
    assert lines[1] == "  2 │   distrct_code FROM water.main.account"
    assert lines[2] == "        ^^^^^^^^^^^^"
    assert lines[2].index("^") == lines[1].index("distrct_code")
    assert "Did you mean `district_code`?" in lines[3]


def test_a_dead_department_is_a_failure_with_a_time_to_wait(atoll: Run) -> None:
    err = atoll("query", "SELECT 1 FROM health.main.down").err
    assert err.startswith("✗ health failed: health does not answer.")
    assert "wait  5 s" in err


def test_no_gateway_is_one_line_that_says_how_to_start_one(atoll: Run) -> None:
    done = atoll("query", "--url", "http://127.0.0.1:1", "SELECT 1")
    assert done.code == 1
    assert "No gateway answers at http://127.0.0.1:1" in done.err
    assert "atoll demo" in done.err
    assert "Traceback" not in done.err


def test_an_address_where_something_else_lives_is_told_apart(atoll: Run, gateway: Stub) -> None:
    done = atoll("departments", "list", "--url", gateway.url + "/console.css?x=")
    assert done.code == 1
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["query"],
        ["query", "SELECT 1", "--file", "q.sql"],
        ["query", "--file", "missing.sql"],
        ["query", "--format", "xml", "SELECT 1"],
        ["query", "--session", "allow_partial", "SELECT 1"],
        ["query", "-o", "no/such/folder/a.csv", "--format", "csv", "SELECT 1"],
        ["explain"],
        ["querry", "SELECT 1"],
        ["departments", "approve"],
    ],
    ids=lambda a: " ".join(a),
)
def test_wrong_use_exits_2_and_says_what_is_wrong(atoll: Run, arguments: list[str]) -> None:
    done = atoll(*arguments)
    assert done.code == 2
    assert done.err.strip()
    assert "Traceback" not in done.err


def test_nobody_asks_without_saying_who(atoll: Run) -> None:
    done = atoll("query", "SELECT 1", login=False)
    assert done.code == 2
    assert "--user" in done.err


def test_a_user_whom_the_gateway_does_not_know_gets_its_words(atoll: Run) -> None:
    done = atoll("query", "--user", "nobody", "SELECT 1")
    assert done.code == 1
    assert "Who are you?" in done.err


def test_a_token_replaces_the_name(atoll: Run, gateway: Stub) -> None:
    assert atoll("query", "SELECT 1", login=False, env={"ATOLL_TOKEN": TOKEN}).code == 0
    assert gateway.headers[-1]["authorization"] == f"Bearer {TOKEN}"
    assert "x-trino-user" not in gateway.headers[-1]


def test_what_is_asked_reaches_the_gateway(atoll: Run, gateway: Stub, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("SELECT 'é' -- 北区")
    atoll("query", "-f", "q.sql", "-p", "audit", "--catalog", "water", "--schema", "main",
          "--session", "allow_partial=true")  # fmt: skip
    assert gateway.bodies[-1] == {
        "sql": "SELECT 'é' -- 北区", "purpose": "audit", "catalog": "water", "schema": "main",
        "session": {"allow_partial": "true"}, "format": "json", "async": True,
    }  # fmt: skip
    atoll("query", "-", stdin="SELECT 2")
    assert gateway.bodies[-1]["sql"] == "SELECT 2"


def test_explain_and_dry_run_show_the_text_that_each_department_gets(atoll: Run) -> None:
    for command in (["explain"], ["explain", "--analyze"], ["query", "--dry-run"]):
        assert "water is sent:\n  SELECT 5" in atoll(*command, "SELECT 5").out
        found = json.loads(atoll(*command, "--json", "SELECT 5").out)
        assert found["fragments"][0]["department"] == "water"
        assert atoll(*command, REFUSED).code == 1


def test_a_closed_pipe_is_no_error_worth_a_trace(gateway: Stub, shelf: Path) -> None:
    command = f"{shelf}/atoll query --format csv 'SELECT many' | head -0"
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "ATOLL_URL": gateway.url, "ATOLL_USER": "lin"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def in_terminal(shelf: Path, gateway: Stub, sql: str) -> tuple[subprocess.Popen[bytes], int]:
    """`atoll query` with a terminal as stderr; returns the process and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [shelf / "atoll", "query", sql], stdout=subprocess.PIPE, stderr=theirs,
        env={**os.environ, "ATOLL_URL": gateway.url, "ATOLL_USER": "lin", "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(theirs)
    return process, ours


def read_until(terminal: int, wanted: str, seconds: float = 20) -> str:
    seen, deadline = b"", time.monotonic() + seconds
    while wanted.encode() not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 4096)
            except OSError:
                break
    return seen.decode(errors="replace")


def test_after_half_a_second_a_line_per_department_is_shown_and_then_gone(gateway: Stub, shelf: Path) -> None:
    gateway.release.clear()
    process, terminal = in_terminal(shelf, gateway, "SELECT slow")
    seen = read_until(terminal, "waiting for its turn")
    gateway.release.set()
    seen += read_until(terminal, "receipt")
    assert process.wait(20) == 0
    assert "running · 1,200 rows" in seen
    assert "1 department (water)" in seen
    os.close(terminal)


def test_a_quick_query_shows_no_progress(gateway: Stub, shelf: Path) -> None:
    process, terminal = in_terminal(shelf, gateway, "SELECT 1")
    seen = read_until(terminal, "receipt")
    assert process.wait(20) == 0
    assert "running" not in seen
    os.close(terminal)


def test_ctrl_c_stops_the_query_at_the_gateway(gateway: Stub, shelf: Path) -> None:
    gateway.release.clear()
    process, terminal = in_terminal(shelf, gateway, "SELECT slow ctrl-c")
    read_until(terminal, "running")
    process.send_signal(signal.SIGINT)
    seen = read_until(terminal, "no such text")  # to its end: a full terminal would hold the process
    assert process.wait(20) != 0
    assert gateway.cancelled == ["SELECT slow ctrl-c"]
    assert "Traceback" not in seen
    os.close(terminal)
