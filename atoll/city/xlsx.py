"""A small Excel writer for the demonstration city: plain sheets, same bytes for the same input.

Not openpyxl, because its files carry the time of writing (the key lists a SHA-256 of every file) and because
a hundred thousand rows of measurements would take it longer than the whole small city may take.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["text", "number", "datetime"]

_EPOCH = datetime(1899, 12, 30)  # Excel's day 0
_FIXED_TIME = (2020, 1, 1, 0, 0, 0)
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


@dataclass(frozen=True)
class Sheet:
    """One sheet: a merged group header, a header, equally long text columns, a totals row.

    `groups` are (label, number of columns), left to right. A column of kind `number` keeps what is no number
    as text; `datetime` takes ISO texts. An empty text is an empty cell.
    """

    title: str
    groups: Sequence[tuple[str, int]]
    header: Sequence[str]
    columns: Sequence[tuple[Kind, pa.Array]]
    totals: Sequence[str]


def write_workbook(path: Path, sheets: Sequence[Sheet]) -> None:
    """Write the sheets, in order, to `path`."""
    numbers = range(1, len(sheets) + 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        _add(archive, "[Content_Types].xml", _content_types(numbers))
        _add(archive, "_rels/.rels", _relations([("rId1", "officeDocument", "xl/workbook.xml")]))
        _add(archive, "xl/workbook.xml", _workbook([sheet.title for sheet in sheets]))
        targets = [(f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
        targets.append((f"rId{len(sheets) + 1}", "styles", "styles.xml"))
        _add(archive, "xl/_rels/workbook.xml.rels", _relations(targets))
        _add(archive, "xl/styles.xml", _styles())
        for n, sheet in zip(numbers, sheets, strict=True):
            _add(archive, f"xl/worksheets/sheet{n}.xml", _sheet(sheet))


def _add(archive: zipfile.ZipFile, name: str, content: str | bytes) -> None:
    info = zipfile.ZipInfo(name, _FIXED_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)


def _content_types(numbers: range) -> str:
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = [("xl/workbook.xml", "sheet.main"), ("xl/styles.xml", "styles")]
    parts += [(f"xl/worksheets/sheet{n}.xml", "worksheet") for n in numbers]
    overrides = "".join(f'<Override PartName="/{p}" ContentType="{kind}.{t}+xml"/>' for p, t in parts)
    relation = "application/vnd.openxmlformats-package.relationships+xml"
    return (
        f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
        f'<Default Extension="rels" ContentType="{relation}"/>{overrides}</Types>'
    )


def _relations(targets: Sequence[tuple[str, str, str]]) -> str:
    rows = "".join(f'<Relationship Id="{i}" Type="{_REL}/{t}" Target="{to}"/>' for i, t, to in targets)
    return f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">{rows}</Relationships>'


def _workbook(titles: Sequence[str]) -> str:
    rows = "".join(f'<sheet name="{escape(title)}" sheetId="{n}" r:id="rId{n}"/>' for n, title in enumerate(titles, 1))
    return f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_REL}"><sheets>{rows}</sheets></workbook>'


def _styles() -> str:
    """Style 0 is plain, style 1 a date with its time (built-in format 22)."""
    return (
        f'{_XML}<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>'
        '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
    )


def _sheet(sheet: Sheet) -> bytes:
    width = len(sheet.header)
    heads, merges, at = [""] * width, [], 0
    for label, span in sheet.groups:
        heads[at] = label
        merges.append(f'<mergeCell ref="{_letter(at)}1:{_letter(at + span - 1)}1"/>')
        at += span
    first = _row(heads) + _row(sheet.header)
    last = "".join(_cell("number", text) for text in sheet.totals)
    body = _body([_cells(kind, column) for kind, column in sheet.columns])
    start = f'{_XML}<worksheet xmlns="{_MAIN}"><sheetData>{first}'
    end = f'<row>{last}</row></sheetData><mergeCells count="{len(merges)}">{"".join(merges)}</mergeCells>'
    return start.encode() + body + end.encode() + b"</worksheet>"


def _row(texts: Sequence[str]) -> str:
    return "<row>" + "".join(_cell("text", text) for text in texts) + "</row>"


def _letter(column: int) -> str:
    return chr(ord("A") + column)


def _cells(kind: Kind, column: pa.Array) -> pa.Array:
    """The column's cells as XML: each distinct text is made once."""
    encoded = column.dictionary_encode()
    texts = [_cell(kind, text) for text in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.large_string()).take(encoded.indices)


def _body(columns: list[pa.Array]) -> bytes:
    opened, closed, none = (pa.scalar(text, pa.large_string()) for text in ("<row>", "</row>", ""))
    rows = pc.binary_join_element_wise(opened, *columns, closed, none)
    return "".join(rows.to_pylist()).encode()


def _cell(kind: Kind, text: str) -> str:
    if not text:
        return "<c/>"
    if kind == "datetime":
        days = (datetime.fromisoformat(text) - _EPOCH).total_seconds() / 86400
        return f'<c s="1"><v>{days!r}</v></c>'
    if kind == "number" and text.lstrip("-").replace(".", "", 1).isdecimal():
        return f"<c><v>{text}</v></c>"
    return f'<c t="inlineStr"><is><t>{escape(text)}</t></is></c>'
