"""Folders of files as a silo: Parquet, CSV, Excel, JSON lines, in whatever layouts the years brought.

A table is declared by its columns and a list of layouts; for each file the first layout whose glob
matches wins. Text files are read by exactly what is declared (nothing is sniffed), land as typed
columns in the agent's private Parquet cache under a name made of (path, size, modification time,
declaration), and are read again only when one of these changes. Parquet tables are read in place,
and from memory where they are asked again (`held`).
Owner views are DuckDB SQL over the tables.

    path: silos/environment
    tables:
      air:
        columns: {station_code: varchar, time: timestamp(0), value: varchar, district: varchar, seq: integer}
        path_columns: 'air/[0-9]+/(?P<district>[0-9]{6})_[0-9]{6}_(?P<seq>[0-9]+)[.]'
        formats: ['%Y/%m/%d %H:%M']
        missing: {value: ['', '-99', '—']}
        layouts:
          - {glob: 'air/201[3-6]/*.csv', format: csv, encoding: gb18030, skip: 1}
          - {glob: 'air/*/*.csv', format: csv, encoding: utf-8-sig}
          - {glob: 'air/*/*.xlsx', format: excel, skip: 1, drop: {station_code: ['合计']}}
      trip: {format: parquet, glob: 'trip/**/*.parquet', hive: {year: integer}}

A file that cannot be read makes its table fail with an error that names file and column; the other
tables stay usable.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from pydantic import AfterValidator, Field, model_validator
from python_calamine import CalamineError, CalamineWorkbook

from catalog.types import VARCHAR, TrinoType
from catalog.types import parse as parse_type
from connectors import cells, records
from connectors.base import Cancel, Capabilities, NativeScan, Source, SourceError, SourceTable
from connectors.config import SourceConfig, Strict, resolve_path
from connectors.held import Stamp
from connectors.snapshot import (
    CAPABILITIES,
    Snapshot,
    digest,
    empty_view,
    failing_view,
    parquet_view,
    write_parquet,
)

__all__ = ["FilesConfig", "FilesSource", "Layout", "ParquetTable", "TextTable"]

CHECK_SECONDS = 1.0
"""How old the last look at the folder may be before a scan looks again."""


def _type_text(text: str) -> str:
    parse_type(text).arrow()
    return text


def _regex(text: str) -> str:
    if not re.compile(text).groupindex:
        raise ValueError("a path pattern needs named groups: (?P<district>[0-9]{6})")
    return text


def _inside(text: str) -> str:
    if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts:
        raise ValueError("a glob stays inside the source's folder")
    return text


TypeText = Annotated[str, AfterValidator(_type_text)]
Glob = Annotated[str, AfterValidator(_inside)]


def _empty_is_missing() -> dict[str, tuple[str, ...]]:
    return {"*": ("",)}


class Layout(Strict):
    """How the files of one glob are written.

    skip: lines or rows before the header. header: whether there is one; without, `names` gives the
    columns in order. rename: the file's own column name -> declared name. ignore: columns of the file
    that are not wanted ("*": every undeclared one). paths: for jsonl, declared name -> path (see
    `records`). drop: rows in which a column holds one of these texts (totals). sheets: a pattern that
    sheet names must match in full.
    """

    glob: Glob
    format: Literal["csv", "excel", "jsonl"]
    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    skip: Annotated[int, Field(ge=0)] = 0
    header: bool = True
    names: tuple[str, ...] = ()
    rename: dict[str, str] = Field(default_factory=dict)
    ignore: tuple[str, ...] | Literal["*"] = ()
    paths: dict[str, str] = Field(default_factory=dict)
    drop: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    sheets: str = ".*"

    @model_validator(mode="after")
    def _complete(self) -> Layout:
        if not self.header and not self.names and self.format != "jsonl":
            raise ValueError("a layout without a header needs `names`")
        return self


class TextTable(Strict):
    """A table gathered from CSV, Excel or JSON-lines files.

    columns: name -> type, all of them. optional: columns that some files lack (NULL there).
    path_columns: named groups of this pattern, searched in the path from the source's folder, are columns.
    formats: strptime patterns for dates and timestamps beside ISO 8601. missing: column (or "*") -> texts
    that mean NULL.
    """

    format: Literal["text"] = "text"
    columns: dict[str, TypeText]
    layouts: Annotated[tuple[Layout, ...], Field(min_length=1)]
    optional: tuple[str, ...] = ()
    path_columns: Annotated[str, AfterValidator(_regex)] | None = None
    formats: tuple[str, ...] = ()
    missing: dict[str, tuple[str, ...]] = Field(default_factory=_empty_is_missing)

    @model_validator(mode="after")
    def _known_columns(self) -> TextTable:
        named = [*self.optional, *self.path_names, *(c for c in self.missing if c != "*")]
        for layout in self.layouts:
            named += [*layout.names, *layout.rename.values(), *layout.paths, *layout.drop]
        for name in named:
            if name not in self.columns:
                raise ValueError(f"column {name!r} is not declared under `columns`")
        return self

    @property
    def path_names(self) -> tuple[str, ...]:
        return tuple(re.compile(self.path_columns).groupindex) if self.path_columns else ()

    @property
    def types(self) -> dict[str, TrinoType]:
        return {name: parse_type(text) for name, text in self.columns.items()}


class ParquetTable(Strict):
    """Parquet files read in place. hive: partition columns of the path -> type; union: match columns by name."""

    format: Literal["parquet"]
    glob: Glob
    hive: dict[str, TypeText] = Field(default_factory=dict)
    union: bool = True


class FilesConfig(SourceConfig):
    """A folder. path: relative to department.yaml. memory, threads: of the embedded engine; a quarter of its memory may
    hold columns that are asked for again."""

    kind: Literal["files"] = "files"
    path: str
    tables: dict[str, TextTable | ParquetTable]
    memory: Annotated[str, Field(pattern=r"^[0-9]+ ?(KB|MB|GB)$")] = "1GB"
    threads: Annotated[int, Field(ge=1, le=64)] = 2

    @model_validator(mode="before")
    @classmethod
    def _choose(cls, data: Any) -> Any:
        """Validate each table by its own model, so that an error speaks of that model alone."""
        if isinstance(data, dict) and isinstance(data.get("tables"), dict):
            chosen = {
                name: _table_model(table).model_validate(table) if isinstance(table, dict) else table
                for name, table in data["tables"].items()
            }
            return {**data, "tables": chosen}
        return data

    def open(self, base_dir: Path, private_dir: Path) -> FilesSource:
        folder = resolve_path(self.path, base_dir)
        if not folder.is_dir():
            raise SourceError(f"no folder at {folder}")
        above = next((part for part in folder.parts if "=" in part), None)
        if above and any(isinstance(table, ParquetTable) and table.hive for table in self.tables.values()):
            raise SourceError(f"{above} in the path of {folder.name} would be taken for a partition: move or rename it")
        return FilesSource(self, folder, private_dir)


def _table_model(table: dict[str, Any]) -> type[TextTable] | type[ParquetTable]:
    return ParquetTable if table.get("format") == "parquet" else TextTable


class FilesSource(Source):
    """One folder of files. What changed in it is seen within a second."""

    kind: ClassVar[str] = "files"
    dialect: ClassVar[str] = "duckdb"

    def __init__(self, config: FilesConfig, folder: Path, private_dir: Path) -> None:
        self._config = config
        self._folder = folder
        self._snapshot = Snapshot(private_dir, [folder], memory=config.memory, threads=config.threads)
        self._lock = threading.Lock()
        self._looked = -CHECK_SECONDS
        self._published: tuple[Any, ...] | None = None
        self._closed = False

    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def tables(self) -> list[SourceTable]:
        self._look()
        return self._snapshot.tables()

    def ping(self) -> None:
        if not self._folder.is_dir():
            raise SourceError(f"no folder at {self._folder}")

    def scan(self, scan: NativeScan, cancel: Cancel) -> Iterator[pa.RecordBatch]:
        self._look()
        cancel.check()
        return self._snapshot.scan(scan, cancel)

    def refresh(self) -> None:
        """Look at the folder now."""
        with self._lock:
            self._looked = -CHECK_SECONDS
        self._look()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._snapshot.close()

    def _look(self) -> None:
        """Take in what changed since the last look, if that is a while ago."""
        with self._lock:
            if self._closed:
                raise SourceError("the source is closed")
            if time.monotonic() - self._looked < CHECK_SECONDS:
                return
            views: dict[str, str] = {}
            stamps: dict[str, Stamp | None] = {}
            cached: list[Path] = []
            for name, table in self._config.tables.items():
                if isinstance(table, ParquetTable):
                    views[name] = self._parquet(table)
                    stamps[name] = Stamp.of(self._folder.glob(table.glob))
                else:
                    views[name], files = self._text_view(name, table)
                    stamps[name] = Stamp.of(files)
                    cached += files
            state = (tuple(views.items()), tuple(cached))
            if state != self._published:
                self._snapshot.publish(views, cached)
                self._published = state
            self._snapshot.look({name: stamp for name, stamp in stamps.items() if stamp is not None})
            self._looked = time.monotonic()

    def _parquet(self, table: ParquetTable) -> str:
        if next(self._folder.glob(table.glob), None) is None:
            return failing_view({"missing": VARCHAR}, f"no file matches {table.glob}")
        options = [f"union_by_name = {str(table.union).lower()}"]
        if table.hive:
            types = ", ".join(f"'{name}': {parse_type(text).duckdb()}" for name, text in table.hive.items())
            options += ["hive_partitioning = true", f"hive_types = {{{types}}}"]
        return parquet_view([self._folder / table.glob], ", ".join(options))

    def _text_view(self, name: str, table: TextTable) -> tuple[str, list[Path]]:
        """A view over the files of the cache that hold the table, and those."""
        try:
            files = [self._ingested(name, table, layout, path) for path, layout in self._files(table)]
        except SourceError as bad:
            return failing_view(table.types, str(bad)), []
        return parquet_view(files) if files else empty_view(table.types), files

    def _files(self, table: TextTable) -> list[tuple[Path, Layout]]:
        found: dict[Path, Layout] = {}
        for layout in table.layouts:
            for path in self._folder.glob(layout.glob):
                if path.is_file():
                    found.setdefault(path, layout)
        return sorted(found.items(), key=lambda item: item[0])

    def _ingested(self, name: str, table: TextTable, layout: Layout, path: Path) -> Path:
        """The cached Parquet file of one source file, made now unless it exists."""
        stat = path.stat()
        inside = path.relative_to(self._folder).as_posix()
        rules = table.model_copy(update={"layouts": (layout,)}).model_dump_json()
        target = self._snapshot.folder / name / f"{digest(inside, stat.st_size, stat.st_mtime_ns, rules)}.parquet"
        if not target.exists():
            try:
                write_parquet(read_file(path, inside, table, layout), target)
            except SourceError as bad:
                raise SourceError(f"{inside}: {bad}") from None
        return target


# --- reading one file --------------------------------------------------------------------------------


def read_file(path: Path, inside: str, table: TextTable, layout: Layout) -> pa.Table:
    """One file by its layout -> the table's declared columns. Raises SourceError naming the column."""
    try:
        texts = _READERS[layout.format](path, table, layout)
    except (pa.ArrowException, UnicodeError, OSError, CalamineError) as bad:
        raise SourceError(f"not readable as {layout.format}: {bad}") from None
    texts = _declared(texts, table, layout)
    for column, dropped in layout.drop.items():
        keep = pc.invert(pc.is_in(texts[column], value_set=pa.array(dropped, pa.string())))
        texts = {name: array.filter(keep) for name, array in texts.items()}
    rows = len(next(iter(texts.values()))) if texts else 0
    texts |= _from_path(inside, table, rows)
    arrays = []
    for name, type_ in table.types.items():
        array = texts.get(name)
        if array is None:
            array = pa.nulls(rows, pa.string())
        arrays.append(cells.from_text(_without_missing(array, name, table), type_, name, table.formats))
    return pa.table(arrays, names=list(table.columns))


def _declared(texts: Mapping[str, pa.Array], table: TextTable, layout: Layout) -> dict[str, pa.Array]:
    """The file's columns under their declared names; unknown and absent ones are errors unless declared."""
    found: dict[str, pa.Array] = {}
    for own, array in texts.items():
        name = layout.rename.get(own, own)
        if name in table.columns and name not in table.path_names:
            if name in found:
                raise SourceError(f"column {name!r} appears twice")
            found[name] = array
        elif layout.ignore != "*" and own not in layout.ignore:
            raise SourceError(f"column {own!r} is not declared")
    for name in table.columns:
        if name not in found and name not in table.path_names and name not in table.optional:
            raise SourceError(f"column {name!r} is absent")
    return found


def _from_path(inside: str, table: TextTable, rows: int) -> dict[str, pa.Array]:
    if table.path_columns is None:
        return {}
    found = re.search(table.path_columns, inside)
    if found is None:
        raise SourceError("the path does not match `path_columns`")
    return {name: pa.array([found[name]] * rows, pa.string()) for name in table.path_names}


def _without_missing(array: pa.Array, name: str, table: TextTable) -> pa.Array:
    tokens = table.missing.get(name, table.missing.get("*", ()))
    if not tokens:
        return array
    missing = pc.is_in(array, value_set=pa.array(tokens, pa.string()))
    return pc.if_else(missing, pa.scalar(None, pa.string()), array)


def _read_csv(path: Path, table: TextTable, layout: Layout) -> dict[str, pa.Array]:
    names = _csv_names(path, layout)
    read = pacsv.read_csv(
        path,
        pacsv.ReadOptions(column_names=names, skip_rows=layout.skip + int(layout.header), encoding=layout.encoding),
        pacsv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True, ignore_empty_lines=True),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
        ),
    )
    return {name: read.column(i).combine_chunks() for i, name in enumerate(read.column_names)}


def _csv_names(path: Path, layout: Layout) -> list[str]:
    """The header's names (or the declared ones), decoded as the file is."""
    if not layout.header:
        return list(layout.names)
    with path.open(encoding=layout.encoding, newline="") as file:
        for _ in range(layout.skip):
            file.readline()
        line = file.readline()
    header = pacsv.read_csv(
        pa.BufferReader(line.encode()),
        pacsv.ReadOptions(autogenerate_column_names=True),
        pacsv.ParseOptions(delimiter=layout.delimiter),
    )
    return [str(header.column(i)[0].as_py()).strip() for i in range(header.num_columns)]


def _read_excel(path: Path, table: TextTable, layout: Layout) -> dict[str, pa.Array]:
    """Every sheet whose name matches, one below the other."""
    parts: dict[str, list[str | None]] = {}
    with CalamineWorkbook.from_path(path) as workbook:
        for sheet in workbook.sheet_names:
            if not re.fullmatch(layout.sheets, sheet):
                continue
            rows = workbook.get_sheet_by_name(sheet).to_python(skip_empty_area=False)[layout.skip :]
            names = list(layout.names)
            if layout.header and rows:
                names, rows = [str(cell).strip() for cell in rows[0]], rows[1:]
            _append(parts, names, rows, sheet)
    return {name: pa.array(values, pa.string()) for name, values in parts.items()}


def _append(parts: dict[str, list[str | None]], names: list[str], rows: list[list[Any]], sheet: str) -> None:
    if parts and rows and set(names) != set(parts):
        raise SourceError(f"sheet {sheet!r} has other columns than the sheets before it")
    filled = [row for row in rows if any(cell != "" for cell in row)]
    for i, name in enumerate(names):
        parts.setdefault(name, []).extend(_cell(row[i]) for row in filled)


def _cell(value: Any) -> str | None:
    """An Excel cell as text: whole numbers without a point, others in full, dates in ISO 8601."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    return None if value is None else str(value)


def _read_jsonl(path: Path, table: TextTable, layout: Layout) -> dict[str, pa.Array]:
    fields = {name: layout.paths.get(name, name) for name in table.columns if name not in table.path_names}
    with path.open(encoding=layout.encoding) as file:
        return records.Paths(fields).table(records.loads(line) for line in file if line.strip())


_READERS = {"csv": _read_csv, "excel": _read_excel, "jsonl": _read_jsonl}
