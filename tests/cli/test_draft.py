"""`atoll agent draft` and `check`: from a silo to a policy that grants nothing, and what a policy would show."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pymysql
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog import policy
from catalog.names import is_plain
from connectors.agent.draft import suspect
from connectors.agent.names import plain_name
from tests.cli.stub_gateway import Run
from tests.servers import MariaDBServer, PostgresServer

SECRET = "Wang Xiaoming 王小明"


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """A small silo in a department's own words: camel case, Chinese, a reserved word, a column without type."""
    drawn = random.Random(1)
    with sqlite3.connect(tmp_path / "hospital.db") as db:
        db.execute(
            'CREATE TABLE "Admission" (AdmID INTEGER PRIMARY KEY, PersonId TEXT, sex TEXT, BirthYear INTEGER, '
            'icd TEXT, "姓名" TEXT, cost DECIMAL(10,2), photo, "order" TEXT, contact TEXT, admitted DATE)'
        )
        for n in range(300):
            row = (f"4499{n:04d}", drawn.choice("MF"), 1930 + n % 70, f"I{n % 90 + 10}.{n % 9}", SECRET,
                   f"{n}.50", None, "x", f"a{n}@b.org", "2020-01-01")  # fmt: skip
            db.execute('INSERT INTO "Admission" VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', row)
    db.close()
    return tmp_path


def drafted(atoll: Run, *arguments: str) -> str:
    done = atoll("agent", "draft", *arguments)
    assert (done.code, done.err) == (0, "")
    return done.out


def test_a_draft_is_a_valid_policy_that_grants_nothing(atoll: Run, hospital: Path) -> None:
    department = policy.parse(drafted(atoll, "hospital.db"))
    assert department.department == "hospital"
    assert department.grants == ()
    assert department.relations["admission"].rows == 300
    assert department.relations["admission"].key == ("adm_id",)
    assert "limits" in yaml.safe_load(drafted(atoll, "hospital.db"))


def test_names_become_plain_and_keep_their_raw_one(atoll: Run, hospital: Path) -> None:
    columns = policy.parse(drafted(atoll, "hospital.db")).relations["admission"].columns
    assert list(columns) == [
        "adm_id", "person_id", "sex", "birth_year", "icd", "person_name", "cost", "order_", "contact", "admitted",
    ]  # fmt: skip
    assert (columns["person_name"].from_, columns["order_"].from_) == ("姓名", "order")
    assert [str(columns[c].type) for c in ("adm_id", "cost", "admitted")] == ["bigint", "decimal(10, 2)", "date"]


def test_personal_columns_are_found_by_name_and_by_value_and_special_ones_marked(atoll: Run, hospital: Path) -> None:
    columns = policy.parse(drafted(atoll, "hospital.db")).relations["admission"].columns
    assert {n for n, c in columns.items() if c.personal} == {
        "person_id", "sex", "birth_year", "icd", "person_name", "contact",
    }  # fmt: skip
    assert {n for n, c in columns.items() if c.special} == {"icd"}


def test_a_column_that_cannot_be_carried_is_left_out_with_the_reason(atoll: Run, hospital: Path) -> None:
    assert "# photo: left out" in drafted(atoll, "hospital.db")


def test_the_proposals_are_comments_that_hold_when_they_are_uncommented(atoll: Run, hospital: Path) -> None:
    lines = drafted(atoll, "hospital.db").splitlines()
    at = lines.index("grants: []")
    opened = [line[1:] for line in lines[at + 1 :] if not line.startswith(("# Prop", "# Of two"))]
    text = "\n".join([*lines[:at], *opened])
    department = policy.parse(text)
    masked, sums = department.grants
    assert masked.masks["person_name"] == "deny"
    assert masked.masks["birth_year"] == "number(5, 0)"
    assert (sums.mode, sums.entity, sums.min_group) == ("aggregate", "person_id", 10)
    assert "cost" in sums.measures


def test_no_value_of_the_silo_is_in_the_draft(atoll: Run, hospital: Path) -> None:
    text = drafted(atoll, "hospital.db")
    assert SECRET not in text
    assert "@b.org" not in text


def test_a_draft_can_be_written_to_a_file_and_then_checked(atoll: Run, hospital: Path) -> None:
    assert atoll("agent", "draft", "hospital.db", "-o", "department.yaml", "--name", "clinic").code == 0
    done = atoll("agent", "check", "department.yaml")
    assert done.code == 0
    assert "No grant: nobody can ask anything yet." in done.out
    assert "is valid and the silo answers" in done.err
    assert json.loads(atoll("agent", "draft", "hospital.db", "--json").out)["department"] == "hospital"


def test_folders_of_files_become_tables_with_globs_types_and_partitions(atoll: Run, tmp_path: Path) -> None:
    for year in (2023, 2024):
        folder = tmp_path / "silo" / "trip" / f"year={year}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"card": ["a", "b"], "cents": [1, 2]}), folder / "part.parquet")
        (tmp_path / "silo" / f"sales_{year}.csv").write_text("shop no;day;amount\n007;2024-01-05;12.50\n")
    (tmp_path / "silo" / "visits.jsonl").write_text('{"at": "2024-01-01T10:00:00", "count": 3}\n')
    text = drafted(atoll, "silo")
    department = policy.parse(text)
    assert {n: {c: str(s.type) for c, s in r.columns.items()} for n, r in department.relations.items()} == {
        "sales": {"shop_no": "varchar", "day": "date", "amount": "decimal(18, 2)"},
        "trip": {"card": "varchar", "cents": "bigint", "year": "integer"},
        "visits": {"at": "timestamp(6)", "count": "bigint"},
    }
    (tmp_path / "department.yaml").write_text(text)
    assert atoll("agent", "check", "department.yaml").code == 0


def test_files_of_different_layouts_are_left_out_and_named(atoll: Run, tmp_path: Path) -> None:
    folder = tmp_path / "silo" / "air"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("a title\nstation,value\nA,1\n")
    (folder / "b.csv").write_text("station,value\nA,1\n")
    (tmp_path / "silo" / "station.csv").write_text("station,kind\nA,x\n")
    text = drafted(atoll, "silo")
    assert "left out, describe it by hand: air: some files of air/*.csv have a title" in text
    assert list(policy.parse(text).relations) == ["station"]


@pytest.mark.parametrize("where", ["missing.db", "notes.md", "empty", "https://register.example/v2"])
def test_what_is_no_silo_is_refused_with_what_would_be(atoll: Run, tmp_path: Path, where: str) -> None:
    (tmp_path / "notes.md").write_text("hello")
    (tmp_path / "empty").mkdir()
    done = atoll("agent", "draft", where)
    assert (done.code, done.out) == (1, "")
    assert "next  Give a SQLite file" in done.err


TABLE = "CREATE TABLE account (account_no varchar(20) PRIMARY KEY, phone varchar(20), opened date, debt decimal(12,2))"


@pytest.mark.servers
def test_a_postgresql_database_is_drafted_and_its_password_is_not_written_down(
    atoll: Run, postgres: PostgresServer, postgres_database: str
) -> None:
    with psycopg.connect(postgres.dsn(postgres_database), autocommit=True) as connection:
        connection.execute(TABLE)
    url = f"postgresql://{postgres.user}:s3cret@{postgres.host}:{postgres.port}/{postgres_database}"
    check_account(drafted(atoll, url, "--name", "water"), "postgres")


@pytest.mark.servers
def test_a_mariadb_database_is_drafted_and_its_password_is_not_written_down(
    atoll: Run, mariadb: MariaDBServer, mariadb_database: str
) -> None:
    settings = {**mariadb.settings(), "database": mariadb_database, "autocommit": True}
    with pymysql.connect(**settings) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute("CREATE USER IF NOT EXISTS drafter@'127.0.0.1' IDENTIFIED BY 's3cret'")
        cursor.execute(f"GRANT SELECT ON `{mariadb_database}`.* TO drafter@'127.0.0.1'")
    url = f"mysql://drafter:s3cret@{mariadb.host}:{mariadb.port}/{mariadb_database}"
    check_account(drafted(atoll, url, "--name", "water"), "mysql")


def check_account(text: str, kind: str) -> None:
    """The draft of TABLE in a server: its types, its phone, and no password."""
    department = policy.parse(text)
    assert department.sources["main"]["kind"] == kind
    assert department.sources["main"]["password"] == "env:ATOLL_SOURCE_PASSWORD"
    assert "s3cret" not in text
    columns = department.relations["account"].columns
    assert {n: str(c.type) for n, c in columns.items()} == {
        "account_no": "varchar", "phone": "varchar", "opened": "date", "debt": "decimal(12, 2)",
    }  # fmt: skip
    assert [n for n, c in columns.items() if c.personal] == ["phone"]


POLICY = """
department: clinic
listen: 127.0.0.1:0
identity: {issuer: https://idp.example, jwks: file:jwks.json}
sources: {main: {kind: sqlite, path: hospital.db}}
linkage_groups: {clinic: {root: file:root.key}}
purposes: [research, audit]
relations:
  admission:
    table: Admission
    columns:
      person_id: {type: varchar, from: PersonId}
      sex: varchar
      name: {type: varchar, from: 姓名}
grants:
  - {relation: admission, purposes: [research], mode: masked, masks: {name: deny, person_id: pseudonym(clinic)}}
  - {relation: admission, purposes: [audit], mode: aggregate, min_group: 10, entity: person_id, dimensions: [sex]}
"""


def test_check_shows_each_table_as_each_grant_would_show_it(atoll: Run, hospital: Path) -> None:
    (hospital / "department.yaml").write_text(POLICY)
    done = atoll("agent", "check", "department.yaml", "--json")
    assert done.code == 0
    rows, sums = json.loads(done.out)["views"]
    assert [c["shown"] for c in rows["columns"]] == ["pseudonym(clinic)", "as it is", "not there"]
    assert rows["purposes"] == ["research"]
    assert sums["words"] == "counts by sex, from 10 person_id a cell"
    assert [c["shown"] for c in sums["columns"]] == ["counted, never shown", "dimension", "not there"]
    assert "admission  anyone for research: rows" in atoll("agent", "check", "department.yaml").out


def test_check_warns_of_pseudonyms_that_can_be_guessed(atoll: Run, tmp_path: Path) -> None:
    """Few values, or one that many rows hold; a column of its own values for each row is not named."""
    people = [(f"p{i}", "mf"[i % 2], "Li" if i % 15 == 0 else str(i)) for i in range(3000)]
    with sqlite3.connect(tmp_path / "hospital.db") as db:
        db.execute('CREATE TABLE Admission (PersonId TEXT, sex TEXT, "姓名" TEXT)')
        db.executemany("INSERT INTO Admission VALUES (?, ?, ?)", people)
    masks = "{sex: pseudonym(clinic), name: pseudonym(clinic), person_id: pseudonym(clinic)}"
    policy = POLICY.replace("{name: deny, person_id: pseudonym(clinic)}", masks)
    (tmp_path / "department.yaml").write_text(policy)
    done = atoll("agent", "check", "department.yaml", "--json")
    assert done.code == 0
    sex, name = json.loads(done.out)["warnings"]
    assert "admission.columns.sex has 2 distinct values, one of them in 50% of its rows" in sex
    assert "admission.columns.name has many values, one of them in 7% of its rows" in name
    assert "can be guessed" in atoll("agent", "check", "department.yaml").err


def test_check_names_what_the_silo_has_not_with_the_nearest_name(atoll: Run, hospital: Path) -> None:
    wrong = POLICY.replace("from: PersonId", "from: PersonID").replace(
        "      sex: varchar", "      sex: varchar\n      ward: varchar"
    )
    (hospital / "department.yaml").write_text(wrong)
    done = atoll("agent", "check", "department.yaml")
    assert done.code == 1
    assert "columns.person_id: table Admission has no column PersonID: did you mean PersonId?" in done.err
    assert "columns.ward" in done.err


def test_a_broken_policy_is_told_fault_by_fault(atoll: Run, hospital: Path) -> None:
    (hospital / "department.yaml").write_text(POLICY.replace("min_group: 10", "min_grop: 10"))
    for command in (["agent", "check"], ["policy", "test"], ["agent", "pause"], ["register"]):
        done = atoll(*command, "department.yaml")
        assert (done.code, done.out) == (1, "")
        assert "did you mean" in done.err
        assert "Traceback" not in done.err
    assert "cannot be read" in atoll("agent", "check", "nowhere.yaml").err


def test_the_matrix_shows_who_would_see_what_for_each_purpose(atoll: Run, hospital: Path) -> None:
    (hospital / "department.yaml").write_text(POLICY)
    assert json.loads(atoll("policy", "test", "department.yaml", "--json").out) == [
        {"relation": "admission", "user": "anyone", "purposes": {"research": "rows, 2 masked", "audit": "sums >= 10"}}
    ]
    assert "sums >= 10" in atoll("policy", "test", "department.yaml").out


def test_an_agent_that_does_not_run_cannot_be_paused_and_that_is_said(atoll: Run, hospital: Path) -> None:
    (hospital / "department.yaml").write_text(POLICY + "owner_listen: 127.0.0.1:1\n")
    done = atoll("agent", "pause", "department.yaml")
    assert done.code == 1
    assert "No agent answers at 127.0.0.1:1" in done.err
    assert "atoll agent serve" in done.err


@given(st.lists(st.text(max_size=80), max_size=8))
def test_any_raw_names_become_different_plain_ones(raw: list[str]) -> None:
    taken: list[str] = []
    for name in raw:
        taken.append(plain_name(name, taken))
    assert all(map(is_plain, taken))
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x1", ["11010519491231002X", "440524188001010014", "110105194912310038"], "a person's number"),
        (
            "x1",
            ["DE89370400440532013000", "GB82WEST12345698765432", "FR1420041010050500013M02606"],
            "a bank account or card",
        ),
        ("x1", ["13912345678", "13812345679", "13712345670"], "a telephone number"),
        ("CustomerName", [], "a name"),
        ("date_of_birth", [], "a date of birth"),
        ("身份证号码", [], "a person's number"),
        ("religion", [], "a belief, origin or membership"),
    ],
)
def test_what_looks_personal_is_named(name: str, values: list[str], kind: str) -> None:
    found = suspect(name, values)
    assert found is not None
    assert found[0].kind == kind


@pytest.mark.parametrize("name", ["amount", "page", "unit", "surnamed_x", "latest", "phonebook_size", "B12"])
def test_what_only_resembles_a_personal_word_is_left_alone(name: str) -> None:
    assert suspect(name, ["1", "2", "3", "4"]) is None
