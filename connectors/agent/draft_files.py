"""Guesses the tables of a folder of files for `atoll agent draft`: globs, layouts, columns, types.

One table a subfolder and kind of file; files beside each other that differ in a number only
(`sales_2023.csv`, `sales_2024.csv`) are one table. Types are guessed from the first rows, and a column
whose numbers begin with 0 stays text. What is written is a `tables:` entry of `connectors.files`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

from connectors.agent.names import plain_name, words

__all__ = ["SUFFIXES", "file_tables"]

SUFFIXES = (".parquet", ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".xlsx", ".xls", ".ods")
GUESS_ROWS = 500
GUESS_BYTES = 1 << 18
GUESS_FILES = 8
_ENCODINGS = ("utf-8-sig", "gb18030", "cp1252", "latin-1")
_HIVE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.+)")
_TYPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("boolean", re.compile(r"true|false", re.IGNORECASE)),
    ("bigint", re.compile(r"-?(0|[1-9]\d{0,17})")),
    ("decimal", re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,9})?")),
    ("double", re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")),
    ("date", re.compile(r"\d{4}-\d\d-\d\d")),
    ("timestamp(0)", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?")),
    ("timestamp(3)", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d{1,3}")),
)


def file_tables(place: Path) -> tuple[Path, dict[str, dict[str, Any]], list[str]]:
    """A folder or one file -> the source's folder, its `tables`, and a line for each that cannot be guessed.

    Raises ValueError if there is nothing that a files source reads.
    """
    folder = place if place.is_dir() else place.parent
    found = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    groups: dict[tuple[str, str, str], list[Path]] = {}
    for file in found:
        suffix = file.suffix.lower()
        if suffix in SUFFIXES and not file.name.startswith("."):
            groups.setdefault((*_series(file.relative_to(folder)), suffix), []).append(file)
    if not groups:
        raise ValueError(f"{place} holds no file with an ending of {', '.join(SUFFIXES)}")
    tables: dict[str, dict[str, Any]] = {}
    unread: list[str] = []
    for (where, stem, suffix), members in groups.items():
        name = plain_name(stem or where or folder.name, tables, "table")
        try:
            tables[name] = _table(folder, where, members, suffix)
        except ValueError as bad:
            unread.append(f"{name}: {bad}")
    return folder, tables, unread


def _series(file: Path) -> tuple[str, str]:
    """(subfolder, "") for files in subfolders, ("", name without its trailing number) beside the others."""
    if len(file.parts) > 1:
        # Partitions right below the folder are one table; the folder itself gives the name.
        return ("" if _HIVE.fullmatch(file.parts[0]) else file.parts[0]), ""
    return "", re.sub(r"[\d_. -]+$", "", file.stem) or file.stem


def _table(folder: Path, where: str, members: list[Path], suffix: str) -> dict[str, Any]:
    pattern = _glob(folder, where, members)
    if suffix == ".parquet":
        hive = _partitions(folder, members)
        return {"format": "parquet", "glob": pattern} | ({"hive": hive} if hive else {})
    if suffix in (".jsonl", ".ndjson"):
        return _json_table(members[0], pattern)
    if suffix in (".xlsx", ".xls", ".ods"):
        return _text_table([_sheet(m) for m in _some(members)], {"glob": pattern, "format": "excel"})
    read = [_csv(member) for member in _some(members)]
    return _text_table([rows for rows, _ in read], {"glob": pattern, "format": "csv", **read[0][1]})


def _some(members: list[Path]) -> list[Path]:
    """A few files of a series, spread over it: what one of them lacks another may have."""
    step = max(1, len(members) // GUESS_FILES)
    return members[::step][:GUESS_FILES]


def _glob(folder: Path, where: str, members: list[Path]) -> str:
    """A pattern for exactly these files' places."""
    suffix = members[0].suffix
    if where:
        deep = any(len(m.relative_to(folder).parts) > 2 for m in members)
        return f"{where}/**/*{suffix}" if deep else f"{where}/*{suffix}"
    if len(members[0].relative_to(folder).parts) > 1:
        return f"**/*{suffix}"
    if len(members) == 1:
        return members[0].name
    return f"{_series(Path(members[0].name))[1]}*{suffix}"


def _partitions(folder: Path, members: list[Path]) -> dict[str, str]:
    """Hive partitions of the paths -> their types."""
    values: dict[str, list[str]] = {}
    for file in members:
        for part in file.relative_to(folder).parts[:-1]:
            if pair := _HIVE.fullmatch(part):
                values.setdefault(pair[1], []).append(pair[2])
    return {name: "integer" if _guess(texts) == "bigint" else "varchar" for name, texts in values.items()}


def _csv(file: Path) -> tuple[list[list[str]], dict[str, Any]]:
    """The first rows, and how the file is written."""
    with file.open("rb") as source:
        raw = source.read(GUESS_BYTES)
    # The cut may fall into a character or a row: the last line is not looked at.
    raw = raw.rpartition(b"\n")[0] or raw
    encoding = next(e for e in _ENCODINGS if _decodes(raw, e))
    text = raw.decode(encoding)
    counted = {mark: text.count(mark) for mark in ",;\t|"}
    delimiter = max(counted, key=lambda mark: counted[mark])
    layout: dict[str, Any] = {} if encoding == "utf-8-sig" and raw.isascii() else {"encoding": encoding}
    layout |= {"delimiter": delimiter} if delimiter != "," else {}
    return [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if row], layout


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _sheet(file: Path) -> list[list[str]]:
    """The first rows of a workbook's first sheet, as text."""
    try:
        rows = CalamineWorkbook.from_path(str(file)).get_sheet_by_index(0).to_python(nrows=GUESS_ROWS)
    except (CalamineError, OSError) as bad:
        raise ValueError(f"the workbook {file.name} cannot be read") from bad
    return [[_cell_text(cell) for cell in row] for row in rows]


def _cell_text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _text_table(samples: list[list[list[str]]], layout: dict[str, Any]) -> dict[str, Any]:
    """Headers and rows of some files -> columns with types, and the layout that reads them."""
    if not samples[0]:
        raise ValueError(f"the first file of {layout['glob']} has no rows")
    samples = [rows for rows in samples if rows]
    skips = {_title_lines(rows) for rows in samples}
    if len(skips) > 1:
        raise ValueError(f"some files of {layout['glob']} have a title above the header, some not: give each a layout")
    skip = skips.pop()
    values: dict[str, list[str]] = {}
    headers = [[cell for cell in rows[skip] if cell.strip()] for rows in samples if len(rows) > skip]
    if any(len(set(header) & set(headers[0])) * 2 < len(headers[0]) for header in headers):
        raise ValueError(f"the files of {layout['glob']} have different headers: give each kind a layout")
    for rows in samples:
        for at, raw in enumerate(rows[skip] if len(rows) > skip else ()):
            if raw.strip():
                found = [row[at] for row in rows[skip + 1 :][:GUESS_ROWS] if at < len(row)]
                values.setdefault(raw, []).extend(found)
    if not values:
        raise ValueError(f"the first file of {layout['glob']} has no header")
    columns: dict[str, str] = {}
    rename: dict[str, str] = {}
    optional: list[str] = []
    for raw, found in values.items():
        name = plain_name(raw, columns)
        columns[name] = _guess_column(raw, found)
        if name != raw:
            rename[raw] = name
        if not all(raw in header for header in headers):
            optional.append(name)
    layout |= {"skip": skip} if skip else {}
    layout |= {"rename": rename} if rename else {}
    return {"columns": columns, "layouts": [layout]} | ({"optional": optional} if optional else {})


def _title_lines(rows: list[list[str]]) -> int:
    """1 if a title stands above the header: one filled cell, and more below it."""
    return 1 if len(rows) > 1 and _filled(rows[0]) == 1 and _filled(rows[1]) > 1 else 0


def _filled(row: list[str]) -> int:
    return sum(1 for cell in row if cell.strip())


def _json_table(file: Path, pattern: str) -> dict[str, Any]:
    values: dict[str, list[Any]] = {}
    with file.open(encoding="utf-8") as lines:
        for line, _ in zip(lines, range(GUESS_ROWS), strict=False):
            try:
                record = json.loads(line)
            except ValueError as bad:
                raise ValueError(f"{file.name} is not one JSON object a line") from bad
            for key, value in record.items() if isinstance(record, dict) else ():
                values.setdefault(key, []).append(value)
    columns: dict[str, str] = {}
    paths: dict[str, str] = {}
    for key, found in values.items():
        if any(isinstance(value, (dict, list)) for value in found) or not re.fullmatch(r"\w+", key):
            continue
        name = plain_name(key, columns)
        columns[name] = _guess(
            [_cell_text(v) if not isinstance(v, bool) else str(v).lower() for v in found if v is not None]
        )
        paths[name] = key
    if not columns:
        raise ValueError(f"{file.name} has no plain fields")
    return {"columns": columns, "layouts": [{"glob": pattern, "format": "jsonl", "paths": paths}]}


def _guess_column(raw: str, texts: Sequence[str]) -> str:
    """Codes and numbers of things are text, however many digits they have."""
    named = set(words(raw).split("_")) & {"code", "no", "nr", "id", "number", "zip", "phone", "tel", "card"}
    return "varchar" if named else _guess(texts)


def _guess(texts: Sequence[str]) -> str:
    """The narrowest type that every text fits; text when in doubt."""
    given = [t.strip() for t in texts if t.strip()]
    for name, pattern in _TYPES:
        if given and all(pattern.fullmatch(t) for t in given):
            if name != "decimal":
                return name
            return f"decimal(18,{max(len(t.partition('.')[2]) for t in given)})"
    return "varchar"
