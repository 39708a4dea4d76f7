"""Writes a first department.yaml for a silo: what is there, what looks personal, and nothing granted.

`draft` opens the silo as the agent would, reads its catalogue and a sample of rows (which never leave this
process), and proposes plain column names, types, tags, masks and limits. The result is closed by default:
`grants` is empty, and the proposals for grants are comments for the owner to review.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from stdnum import iban, luhn
from stdnum.exceptions import ValidationError as BadNumber
from stdnum.iso7064 import mod_11_2

from catalog.names import is_plain
from catalog.types import VARCHAR, TrinoType
from connectors.agent.draft_files import SUFFIXES, file_tables
from connectors.agent.names import plain_name, words
from connectors.base import Cancel, NativeScan, OutputColumn, Source, SourceColumn, SourceError, SourceTable
from connectors.sources import open_source, parse_source

__all__ = ["ColumnDraft", "TableDraft", "draft", "source_entry", "suspect"]

SAMPLE_ROWS = 500
FEW_VALUES = 30
PASSWORD = "ATOLL_SOURCE_PASSWORD"
"""The environment variable that a drafted entry takes its password from."""

# ---------------------------------------------------------------- what looks personal


@dataclass(frozen=True)
class Suspicion:
    """Why a column may be personal. mask: the proposal, `{group}` stands for the department's own group."""

    kind: str
    mask: str
    special: bool = False


NATIONAL_ID = Suspicion("a person's number", "pseudonym({group})")
NAME = Suspicion("a name", "deny")
PHONE = Suspicion("a telephone number", "deny")
EMAIL = Suspicion("an e-mail address", "email")
ADDRESS = Suspicion("an address", "deny")
BIRTH = Suspicion("a date of birth", "date(year)")
AGE = Suspicion("an age or year of birth", "number(5, 0)")
SEX = Suspicion("a sex", "")
ACCOUNT = Suspicion("a bank account or card", "deny")
DEVICE = Suspicion("a device or network address", "deny")
PLACE = Suspicion("an exact place", "deny")
PLATE = Suspicion("a number plate", "deny")
HEALTH = Suspicion("a diagnosis", "prefix(3)", special=True)
BELIEF = Suspicion("a belief, origin or membership", "deny", special=True)

# Words of a column's name, in the languages that silos speak. ASCII words match whole words of the name
# ("customer_name", "CustomerName"), others any part of it.
_BY_NAME: tuple[tuple[Suspicion, str], ...] = (
    (
        HEALTH,
        "icd icd9 icd10 icd11 diagnosis diagnose diagnostic diagnostico diagnostico_cie dx 诊断 病名 диагноз",
    ),
    (
        BELIEF,
        "religion confession ethnicity race nationality union_member party_member 民族 宗教 政治面貌 国籍",
    ),
    (
        NATIONAL_ID,
        "id_no idno id_card id_card_no national_id citizen_id ssn nin nino nif nie dni cpf curp rut bsn "
        "pesel personnummer cedula insee steuer_id steuernummer codice_fiscale passport passport_no "
        "person_id patient_id owner_id owner_id_no holder_id customer_id legal_person_id tax_id resident_id "
        "sfz sfzh 身份证 证件号 护照 снилс инн 주민등록번호",
    ),
    (EMAIL, "email e_mail mail correo courriel 邮箱 电子邮件 почта"),
    (PHONE, "phone tel telephone telefon telefono mobile cell handy msisdn fax 电话 手机 телефон 電話"),
    (ADDRESS, "address addr street strasse adresse direccion domicilio indirizzo rue 地址 住址 адрес 住所"),
    (AGE, "age birth_year year_of_birth yob alter edad 年龄 年齢"),
    (
        BIRTH,
        "birth birthday birthdate birth_date date_of_birth dob geburtsdatum nacimiento naissance 出生 生日",
    ),
    (ACCOUNT, "iban account_holder card card_no card_number pan credit_card bank_account 银行卡 卡号 账号"),
    (DEVICE, "ip ip_address mac imei imsi device_id cookie"),
    (PLACE, "lat latitude lon lng longitude geo gps coordinates 经度 纬度"),
    (PLATE, "plate number_plate licence_plate license_plate kennzeichen matricula 车牌"),
    (SEX, "sex gender geschlecht sexo sexe 性别"),
    (
        NAME,
        "name customer_name person_name full_name first_name last_name surname forename given_name "
        "family_name maiden_name legal_person contact_person vorname nachname nombre apellido apellidos "
        "nom prenom nome cognome 姓名 法人 户主 联系人 имя фамилия 氏名 이름",
    ),
)

_PHONE = re.compile(r"\+\d[\d ()/-]{6,17}\d|1[3-9]\d{9}|0\d{2,4}[ /-]\d{6,8}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
_IPV4 = re.compile(r"(\d{1,3}\.){3}\d{1,3}")
_ICD = re.compile(r"[A-TV-Z]\d\d\.\d{1,2}")
_PLATE = re.compile(r"[\u4e00-\u9fff][A-Z][·.]?[A-Z0-9]{5,6}")
_PERSON_18 = re.compile(r"\d{6}(18|19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])\d{3}[\dXx]")
_PERSON_15 = re.compile(r"\d{6}\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])\d{3}")


def _person_number(text: str) -> bool:
    """GB 11643, in the form of 18 or 15 characters."""
    if _PERSON_18.fullmatch(text):
        return bool(mod_11_2.is_valid(text.upper()))
    return bool(_PERSON_15.fullmatch(text))


def _is_iban(text: str) -> bool:
    try:
        iban.validate(text)
    except BadNumber:
        return False
    return True


def _is_card(text: str) -> bool:
    return 13 <= len(text) <= 19 and text.isdigit() and text[0] in "3456" and bool(luhn.is_valid(text))


_BY_VALUE: tuple[tuple[Suspicion, Callable[[str], bool]], ...] = (
    (EMAIL, lambda t: bool(_EMAIL.fullmatch(t))),
    (NATIONAL_ID, _person_number),
    (ACCOUNT, _is_iban),
    (ACCOUNT, _is_card),
    (PHONE, lambda t: bool(_PHONE.fullmatch(t))),
    (DEVICE, lambda t: bool(_IPV4.fullmatch(t))),
    (PLATE, lambda t: bool(_PLATE.fullmatch(t))),
    # With the dot only: without it, bus lines and stock codes look the same.
    (HEALTH, lambda t: bool(_ICD.fullmatch(t))),
)


def suspect(raw_name: str, values: Sequence[Any]) -> tuple[Suspicion, str] | None:
    """Whether a column looks personal, and by what ("its values", "its name"). values: a sample, no NULLs."""
    texts = [str(v).strip() for v in values if isinstance(v, (str, int)) and not isinstance(v, bool)]
    texts = [t for t in texts if t]
    if len(set(texts)) >= 3:
        for suspicion, fits in _BY_VALUE:
            if sum(map(fits, texts)) * 5 >= len(texts) * 4:
                return suspicion, "its values"
    spelled = f"_{words(raw_name)}_"
    for suspicion, vocabulary in _BY_NAME:
        for word in vocabulary.split():
            if f"_{word}_" in spelled if word.isascii() else word in raw_name:
                return suspicion, "its name"
    dates = [v for v in values if isinstance(v, date)]
    if len(dates) >= 20 and (max(dates) - min(dates)).days > 50 * 365 and max(dates) <= date.today():
        return BIRTH, "its values"
    return None


def _fitting(mask: str, kind: TrinoType) -> str:
    """The proposed mask if the type can carry it, else the nearest stricter one."""
    if mask.startswith("date(") and kind.name not in ("date", "timestamp"):
        return "prefix(4)" if kind.is_text else "deny"
    if mask.startswith("number(") and not kind.is_exact:
        return "deny"
    if mask.startswith(("prefix", "email")) and not kind.is_text:
        return "deny"
    if mask.startswith("pseudonym") and not (kind.is_text or kind.is_integer):
        return "deny"
    return mask


# ---------------------------------------------------------------- looking at the silo


@dataclass(frozen=True)
class ColumnDraft:
    """One proposed column. type None: atoll cannot carry it, `note` says why. few: few values seen."""

    raw: str
    name: str
    type: TrinoType | None
    key: bool = False
    suspicion: Suspicion | None = None
    because: str = ""
    note: str = ""
    few: bool = False

    def mask(self, group: str) -> str:
        """The proposed mask, "" for none."""
        if self.suspicion is None or self.type is None:
            return ""
        return _fitting(self.suspicion.mask.format(group=group), self.type)


@dataclass(frozen=True)
class TableDraft:
    raw: str
    name: str
    columns: tuple[ColumnDraft, ...]
    rows: int | None = None
    note: str = ""

    @property
    def usable(self) -> list[ColumnDraft]:
        return [c for c in self.columns if c.type is not None]


def _inspect(source: Source, table: SourceTable, taken: Iterable[str]) -> TableDraft:
    columns: list[ColumnDraft] = []
    sample, misfits = _sample(source, table)
    for column in table.columns:
        name = plain_name(column.name, [c.name for c in columns])
        columns.append(_column(column, name, sample.get(column.name, []), column.name in misfits))
    unread = "" if sample or not table.columns else "no row could be read: check the types"
    return TableDraft(table.name, plain_name(table.name, taken, "table"), tuple(columns), _rounded(table.rows), unread)


def _column(column: SourceColumn, name: str, values: list[Any], misfit: bool) -> ColumnDraft:
    if column.type is None:
        return ColumnDraft(column.name, name, None, note=f"{column.native_type or 'no type'}: cannot be carried")
    found = suspect(column.name, values)
    kind = VARCHAR if misfit else column.type
    return ColumnDraft(
        raw=column.name,
        name=name,
        type=kind,
        key=column.key,
        suspicion=found[0] if found else None,
        because=found[1] if found else "",
        note=f"not every cell is {column.type}" if misfit else "",
        few=bool(values) and len(set(map(str, values))) <= min(FEW_VALUES, max(1, len(values) // 3)),
    )


def _sample(source: Source, table: SourceTable) -> tuple[dict[str, list[Any]], set[str]]:
    """Some values of each column, and the columns whose cells do not all fit their declared type."""
    typed = {c.name: c.type for c in table.columns if c.type is not None}
    try:
        return _read(source, table.name, typed), set()
    except SourceError:
        pass
    values: dict[str, list[Any]] = {}
    misfits: set[str] = set()
    for name, kind in typed.items():
        try:
            values |= _read(source, table.name, {name: kind})
        except SourceError:
            misfits.add(name)
            try:
                values |= _read(source, table.name, {name: VARCHAR})
            except SourceError:
                values[name] = []
    return values, misfits


def _read(source: Source, table: str, types: dict[str, TrinoType]) -> dict[str, list[Any]]:
    outputs = tuple(OutputColumn(raw, kind, f"c{i}") for i, (raw, kind) in enumerate(types.items()))
    if not outputs:
        return {}
    found: dict[str, list[Any]] = {raw: [] for raw in types}
    scan = NativeScan(relation=table, is_query=False, types=types, columns=outputs, limit=SAMPLE_ROWS)
    for batch in source.scan(scan, Cancel()):
        for raw, column in zip(types, batch.columns, strict=True):
            found[raw] += [v for v in column.to_pylist() if v is not None]
    return found


def _rounded(rows: int | None) -> int | None:
    """Two significant digits: the exact size of a table is already a statement about people."""
    if rows is None or rows < 100:
        return None
    step = 10 ** (len(str(rows)) - 2)
    return int(round(rows / step) * step)


# ---------------------------------------------------------------- where the silo is


def source_entry(where: str, folder: Path) -> tuple[str, dict[str, Any], list[str]]:
    """A URL or path -> (proposed department name, entry of `sources:`, a line for each unreadable table).

    folder: where the yaml will be.

    Passwords in a URL are not copied: the entry refers to an environment variable instead.
    Raises ValueError for what no source reads.
    """
    url = urlsplit(where)
    if url.scheme in ("postgresql", "postgres", "mysql", "mariadb") and url.hostname:
        kind = "postgres" if url.scheme.startswith("postgres") else "mysql"
        database = unquote(url.path.lstrip("/"))
        entry: dict[str, Any] = {"kind": kind, "host": url.hostname}
        entry |= {"port": url.port} if url.port else {}
        entry |= {"database": database, "user": unquote(url.username or "")}
        entry |= {"password": f"env:{PASSWORD}"} if url.password else {}
        return plain_name(database, (), "department"), entry, []
    if url.scheme in ("http", "https"):
        raise ValueError(
            "a web service says too little about its records: describe it by hand as a source of kind rest"
        )
    path = Path(unquote(url.path) if url.scheme in ("file", "sqlite") else where)
    if not path.exists():
        raise ValueError(f"{where} is neither a file or folder here nor a URL that a source reads")
    name = plain_name(path.stem, (), "department")
    if path.is_file():
        with path.open("rb") as file:
            if file.read(16) == b"SQLite format 3\0":
                return name, {"kind": "sqlite", "path": _relative(path, folder)}, []
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        place, tables, unread = file_tables(path)
        return name, {"kind": "files", "path": _relative(place, folder), "tables": tables}, unread
    raise ValueError(f"{where} is no SQLite database, and its ending is none of {', '.join(SUFFIXES)}")


def _relative(path: Path, folder: Path) -> str:
    full, base = path.resolve(), folder.resolve()
    return str(full.relative_to(base)) if full.is_relative_to(base) else str(full)


def draft(where: str, folder: Path, private: Path, department: str = "") -> str:
    """The text of a department.yaml for the silo at `where`.

    folder: where the file will be kept (relative paths start there). private: a scratch folder.
    Raises ValueError or SourceError if the silo cannot be opened or has no table.
    """
    name, entry, unread = source_entry(where, folder)
    given = urlsplit(where).password
    if given and entry.get("password"):
        os.environ.setdefault(PASSWORD, unquote(given))
    tables, failed = _inspected(entry, folder, private)
    unread = [*unread, *failed]
    if not tables:
        raise ValueError("; ".join(unread) or f"{where} has no table")
    chosen = department or name
    if not is_plain(chosen):
        raise ValueError(f"{chosen!r} is no name for a department: lower-case letters, digits and _")
    return "\n".join(_document(chosen, entry, tables, unread)) + "\n"


def _inspected(entry: dict[str, Any], folder: Path, private: Path) -> tuple[list[TableDraft], list[str]]:
    """All tables of the silo, and a line for each folder of files that cannot be read as it was guessed.

    Tables of the second kind are taken out of `entry`.
    """
    parts = [entry]
    if "tables" in entry:
        parts = [{**entry, "tables": {name: table}} for name, table in entry["tables"].items()]
    tables: list[TableDraft] = []
    unread: list[str] = []
    for part in parts:
        try:
            source = open_source(parse_source(part), folder, private)
            try:
                for table in source.tables():
                    tables.append(_inspect(source, table, [t.name for t in tables]))
            finally:
                source.close()
        except (SourceError, ValueError) as bad:
            if len(parts) == 1:
                raise
            name = next(iter(part["tables"]))
            del entry["tables"][name]
            unread.append(f"{name}: {' '.join(str(bad).split())}")
    return tables, unread


# ---------------------------------------------------------------- the document


def _document(department: str, entry: dict[str, Any], tables: list[TableDraft], unread: list[str]) -> list[str]:
    personal = sum(1 for t in tables for c in t.columns if c.suspicion)
    return [
        f"# {department}, drafted: {len(tables)} tables, {personal} columns look personal, nothing granted.",
        "# 1. Read every line; give titles, comments and units; take out what nobody should ever see.",
        "# 2. Fill in who you are and whom you believe (identity).",
        "# 3. Write grants: proposals are at the end.",
        "# Then: atoll agent check department.yaml; atoll agent serve department.yaml",
        f"department: {department}",
        'title: ""',
        'custodian: ""',
        'contact: ""',
        "listen: 127.0.0.1:7400",
        "owner_listen: 127.0.0.1:7401",
        "identity:",
        "  issuer: https://idp.example  # the city's identity provider",
        "  jwks: file:jwks.json  # its public keys, fetched once by you, not through the gateway",
        "sources:",
        *_source_lines(entry),
        *(f"  # left out, describe it by hand: {line}" for line in unread),
        "purposes: [statistics]  # the city's vocabulary, as its identity provider spells it",
        "relations:",
        *(line for table in tables for line in _relation(table)),
        "limits:",
        "  concurrent: 2",
        "  seconds: 30",
        f"  rows: {_row_limit(tables)}",
        "grants: []",
        *_proposals(department, tables),
    ]


def _source_lines(entry: dict[str, Any]) -> list[str]:
    text = yaml.safe_dump({"main": entry}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return [f"  {line}" for line in text.rstrip().splitlines()]


def _relation(table: TableDraft) -> list[str]:
    lines = [f"  {table.name}:" + (f"  # {table.note}" if table.note else "")]
    lines += [f"    table: {_scalar(table.raw)}", '    comment: ""']
    if table.rows is not None:
        lines.append(f"    rows: {table.rows}")
    key = [c for c in table.columns if c.key]
    if key and all(c.type is not None for c in key):
        lines.append(f"    key: [{', '.join(c.name for c in key)}]")
    if not table.usable:
        return [f"  # {line}" for line in lines]
    return [*lines, "    columns:", *(f"      {_column_line(c)}" for c in table.columns)]


def _column_line(column: ColumnDraft) -> str:
    if column.type is None:
        return f"# {column.name}: left out, {column.note}"
    spec: dict[str, Any] = {"type": str(column.type)}
    if column.raw != column.name:
        spec["from"] = column.raw
    remarks = [column.note] if column.note else []
    if column.suspicion:
        spec["personal"] = True
        if column.suspicion.special:
            spec["special"] = True
        remarks.append(f"{column.suspicion.kind}, by {column.because}")
    text = _scalar(str(column.type)) if len(spec) == 1 else _flow(spec)
    return f"{column.name}: {text}" + (f"  # {'; '.join(remarks)}" if remarks else "")


def _row_limit(tables: list[TableDraft]) -> int:
    largest = max((t.rows or 0 for t in tables), default=0)
    return min(1_000_000, max(10_000, largest))


def _proposals(department: str, tables: list[TableDraft]) -> list[str]:
    """Grants to uncomment: rows behind masks, and sums where there is an entity to count."""
    lines = [
        "# Proposals. Uncomment, narrow, name real purposes, then delete `grants: []` above.",
        "# Of two grants for one purpose the stricter holds.",
    ]
    grants = [line for t in tables if t.usable for line in (*_masked(t, department), *_sums(t))]
    if any("pseudonym(" in line for line in grants):
        lines += [
            "#linkage_groups:",
            f"#  {department}: {{root: 'file:linkage.root'}}  # 32 random bytes, hex: openssl rand -hex 32",
        ]
    return [*lines, "#grants:", *(f"#{line}" for line in grants)]


def _masked(table: TableDraft, group: str) -> list[str]:
    masks = {c.name: c.mask(group) for c in table.usable if c.mask(group)}
    lines = [f"  - relation: {table.name}", "    purposes: [statistics]", "    mode: masked"]
    return [*lines, f"    masks: {_flow(masks)}"] if masks else lines


def _sums(table: TableDraft) -> list[str]:
    """A proposal in aggregate mode, if some column names whom the rows are about."""
    entity = next((c for c in table.usable if c.suspicion is NATIONAL_ID), None)
    if entity is None:
        return []
    dimensions = [c.name for c in table.usable if c.few and not c.key and c.suspicion in (None, SEX)]
    measures = [
        c.name
        for c in table.usable
        if c.type is not None and c.type.is_numeric and not c.key and not c.suspicion and c.name not in dimensions
    ]
    return [
        f"  - relation: {table.name}",
        "    purposes: [statistics]",
        "    mode: aggregate",
        "    min_group: 10",
        f"    entity: {entity.name}",
        f"    dimensions: {_flow(dimensions)}",
        f"    measures: {_flow(measures)}",
    ]


def _scalar(text: str) -> str:
    """A YAML scalar, quoted unless it is plainly a word."""
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\([0-9, ]*\))?", text) and not _magic(text) else _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _magic(text: str) -> bool:
    """Words that YAML 1.1 reads as something else than text."""
    return text.lower() in ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none")


def _flow(value: dict[str, Any] | list[str]) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_scalar(v) for v in value) + "]"
    return "{" + ", ".join(f"{_scalar(k)}: {_flow_value(v)}" for k, v in value.items()) + "}"


def _flow_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    # Inside braces a comma would end the value.
    return _quoted(text) if "," in text else _scalar(text)
