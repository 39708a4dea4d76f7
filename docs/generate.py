"""Writes what the reference says out of the code itself, so that it cannot age.

    python docs/generate.py            fill the regions and write the schemas
    python docs/generate.py --check    exit 1 and name what is out of date

A region of a page is what stands between `<!-- generated: NAME -->` and `<!-- end -->`. The JSON Schemas of
department.yaml and gateway.yaml are for editors; `schemas/*.json` are written whole.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union

import pyarrow as pa
import typer
from pydantic import Field, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from atoll.cli import app
from catalog import masks, policy
from catalog.duck.functions import REFUSED
from catalog.duck.listing import LISTED, OPERATORS, coverage
from catalog.errors import Outcome
from catalog.relation import Linkage
from catalog.standards import city_tables
from catalog.types import parse
from connectors.sources import KINDS, model_of
from gateway import settings

DOCS = Path(__file__).parent
SCHEMAS = DOCS / "reference" / "schemas"
TRINO_FUNCTIONS = DOCS.parent / "tests" / "corpus" / "trino_functions.txt"
REGION = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in generated() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in generated():
        if path in stale and not check:
            path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(DOCS)}", file=sys.stderr)
    return 1 if check and stale else 0


def generated() -> Iterator[tuple[Path, str]]:
    """Every file that is made here, with the text it should have."""
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if REGION.search(text):
            yield path, REGION.sub(lambda m: f"{m[1]}\n{REGIONS[m[2]]()}\n\n{m[3]}", text)
    for name, schema in (("department", department_schema()), ("gateway", gateway_schema())):
        yield SCHEMAS / f"{name}.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- small Markdown


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped, a line break becomes a blank."""
    lines = [[" ".join(str(cell).replace("|", "\\|").split()) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: Any) -> str:
    return f"`{text}`" if str(text) else ""


# ---------------------------------------------------------------- commands


def commands() -> str:
    root = typer.main.get_command(app)
    return "\n\n".join(_command(words, found) for words, found in _leaves(root, ("atoll",)))


def _leaves(found: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(found, "commands"):
        for name, child in found.commands.items():
            yield from _leaves(child, (*words, name))
    else:
        yield words, found


def _command(words: tuple[str, ...], found: Any) -> str:
    arguments = [p for p in found.params if p.param_type_name == "argument"]
    options = [p for p in found.params if p.param_type_name == "option"]
    usage = " ".join([*words, *(_usage(p) for p in arguments), *(["[OPTIONS]"] if options else [])])
    rows = [(code(_usage(p)), p.help or "", "") for p in arguments]
    rows += [(_flags(p), p.help or "", _default(p)) for p in options]
    parts = [f"## `{' '.join(words)}`", f"`{usage}`", *_paragraphs(found.help or "")]
    return "\n\n".join([*parts, table(("", "", "default"), rows)] if rows else parts)


def _paragraphs(text: str) -> Iterator[str]:
    """A docstring's paragraphs; examples become blocks that nobody runs."""
    lines: list[str] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        if part.startswith("  "):
            lines.append(part.strip())
            continue
        if lines:
            yield "```bash no-run\n" + "\n".join(lines) + "\n```"
            lines = []
        yield " ".join(part.split()).removesuffix("Examples:").strip() or "Examples:"
    if lines:
        yield "```bash no-run\n" + "\n".join(lines) + "\n```"


def _usage(argument: Any) -> str:
    name = (argument.metavar or argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _flags(option: Any) -> str:
    kinds = "" if option.is_flag else f" {_kind(option)}"
    return code(", ".join(sorted((*option.opts, *option.secondary_opts), key=len)) + kinds)


def _kind(option: Any) -> str:
    """The shape of an option's value: its choices, or a word."""
    found = option.type_descriptor.annotation
    if isinstance(found, type) and issubclass(found, Enum):
        return "|".join(str(choice.value) for choice in found)
    return {str: "TEXT", Path: "PATH", int: "N", float: "X"}.get(found, "TEXT")


def _default(option: Any) -> str:
    shown = option.default.value if isinstance(option.default, Enum) else option.default
    found = "required" if option.required else "" if shown in (None, "", False, (), []) else code(shown)
    envvar = option.envvar
    return " ".join(part for part in (found, f"or `{envvar}`" if envvar else "") if part)


# ---------------------------------------------------------------- department.yaml and gateway.yaml


def department_keys() -> str:
    models = (
        policy.Department, policy.Identity, policy.RelationSpec, policy.ColumnSpec, policy.StandIn, policy.Synthetic,
        policy.Fit, policy.ClassRule, policy.Grant, policy.Project, policy.PolicyTest, policy.Limits,
        policy.LinkageGroup,
    )  # fmt: skip
    places = (
        "the file", "`identity`", "`relations.NAME`", "`relations.NAME.columns.NAME`",
        "`relations.NAME.columns.NAME.synthetic`", "`relations.NAME.synthetic`", "`relations.NAME.synthetic.fit`",
        "`classes.NAME`", "`grants[]`", "`projects.NAME`", "`tests[]`", "`limits`", "`linkage_groups.NAME`",
    )  # fmt: skip
    return "\n\n".join(_model(place, model) for place, model in zip(places, models, strict=True))


def source_keys() -> str:
    return "\n\n".join(_model(f"`kind: {kind}`", model_of(kind)) for kind in KINDS)


def gateway_keys() -> str:
    models = (settings.GatewaySettings, settings.IdentitySettings, settings.DepartmentEntry, settings.Limits)
    places = ("the file", "`identity`", "`departments.NAME`", "`limits`")
    return "\n\n".join(_model(place, model) for place, model in zip(places, models, strict=True))


def _model(place: str, model: Any) -> str:
    rows = [(code(f.alias or name), _shape(f), _unless(f)) for name, f in model.model_fields.items()]
    text = " ".join((model.__doc__ or "").split()).replace("from_", "from")
    return f"### {place}\n\n{text}\n\n{table(('key', 'is', 'default'), rows)}"


def _shape(field: FieldInfo) -> str:
    """A field's type in words of JSON Schema."""
    if "Column" in str(field.annotation) and "dict" in str(field.annotation):
        return "map of columns: a type, or a mapping"
    schema = TypeAdapter(field.annotation).json_schema() if field.annotation else {}
    if schema.get("title") == "TrinoType":
        return "type"
    return _words(schema, schema.get("$defs", {}))


def _words(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return "type" if name == "TrinoType" else "mapping" if name in defs else name
    if "enum" in schema or "const" in schema:
        return " or ".join(code(v) for v in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_words(s, defs) for s in schema["anyOf"] if s.get("type") != "null"))
    match schema.get("type"):
        case "array":
            items = schema.get("items") or {}
            return f"list of {_words(items, defs)}" if items else "list"
        case "object":
            inner = schema.get("additionalProperties")
            return f"map of {_words(inner, defs)}" if isinstance(inner, dict) and inner else "mapping"
        case "string":
            return {"date": "date", "date-time": "time", "path": "path"}.get(schema.get("format", ""), "text")
        case "boolean":
            return "true or false"
        case "integer":
            return "whole number"
        case found:
            return str(found or "anything")


def _unless(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or value in (None, "", (), {}) or hasattr(value, "model_dump"):
        return ""
    return code(json.dumps(value, default=str))


def department_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of department.yaml: the model, with sources by kind and every short form."""
    schema = policy.Department.model_json_schema(by_alias=True)
    every = Annotated[Union[tuple(map(model_of, KINDS))], Field(discriminator="kind")]  # noqa: UP007 - of a dict
    sources = TypeAdapter(every).json_schema()
    defs = {**schema["$defs"], **sources.pop("$defs")}
    defs["TrinoType"] = {"type": "string", "description": "A type in Trino's spelling, such as decimal(18,3)."}
    schema["properties"]["sources"]["additionalProperties"] = sources
    _or_text(defs["RelationSpec"]["properties"]["columns"], "additionalProperties")
    _or_text(defs["RestTable"]["properties"]["columns"], "additionalProperties")
    for name in ("freshness", "wait", "timeout"):
        _or_text(defs["RestConfig"]["properties"], name)
    return _titled(schema, defs, "department")


def _or_text(schema: dict[str, Any], key: str) -> None:
    """What the models also read as one text: a column's type or path, `24h` for seconds."""
    schema[key] = {"anyOf": [{"type": "string"}, schema[key]]}


def gateway_schema() -> dict[str, Any]:
    schema = settings.GatewaySettings.model_json_schema(by_alias=True)
    return _titled(schema, schema["$defs"], "gateway")


def _titled(schema: dict[str, Any], defs: dict[str, Any], name: str) -> dict[str, Any]:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{name}.yaml of atoll"}
    return {**head, **{k: v for k, v in schema.items() if k not in ("title", "$defs")}, "$defs": defs}


# ---------------------------------------------------------------- masks, outcomes, functions, city tables

_NACE = {"C3076": ("C30", "C"), "A01": ("A", "A")}


class _Sample:
    """A vault with one token, drawn once for this page: real ones are random."""

    linkage = Linkage(purpose="statistics", group="token@market")

    def tokens(self, values: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(values, "5f0c7d0a4b1e4f4f9a3d2c1b0a998877")


_CONTEXT = masks.Context(
    lambda group: masks.LinkageKey("statistics", group, "", bytes(32)), {"nace": _NACE}, _Sample(), "lat"
)
_TRIED: dict[str, tuple[tuple[str, str, Any], ...]] = {
    "deny": (("deny", "varchar", "Li Wei"),),
    "null": (("null", "varchar", "Li Wei"),),
    "constant": (("constant(1)", "varchar", "Li Wei"),),
    "pseudonym": (("pseudonym(market)", "varchar", "449901198001011234"),),
    "token": (("token", "varchar", "449901198001011234"),),
    "date": (("date(year)", "date", date(1987, 6, 5)), ("date(month)", "date", date(1987, 6, 5))),
    "number": (("number(5, 0)", "integer", 38), ("number(1000)", "integer", -1)),
    "bucket": (("bucket(18|65, 'under 18|18-64|65+')", "integer", 38),),
    "geo": (("geo(500, lat, lon)", "double", (31.2304, 121.4737)),),
    "hierarchy": (("hierarchy(nace, 1)", "varchar", "C3076"), ("hierarchy(nace, 1)", "varchar", "??")),
    "prefix": (("prefix(3)", "varchar", "J45.901"),),
    "keep_first": (("keep_first(2)", "varchar", "13800001234"),),
    "keep_last": (("keep_last(4)", "varchar", "13800001234"), ("keep_last(4, fixed)", "varchar", "13800001234")),
    "email": (("email", "varchar", "Wei@Mail.example"),),
    "format": (("format", "varchar", "AB-123 李"),),
    "top_code": (("top_code(90)", "integer", 97),),
    "bottom_code": (("bottom_code(18)", "integer", 3),),
}
_TYPES = ("varchar", "integer", "decimal(10,2)", "double", "date", "timestamp(3)", "uuid", "boolean")


def masks_table() -> str:
    """Every mask with an example that is computed here."""
    rows = []
    for kind in masks.MASKS:
        for expression, name, value in _TRIED[kind]:
            mask = masks.build(expression, parse(name), _CONTEXT)
            shown = "no such column" if kind == "deny" else _masked(mask, parse(name), value)
            rows.append((code(expression), code(value), shown, ", ".join(_accepted(expression))))
    return table(("mask", "value", "shown", "column types"), rows)


def _masked(mask: masks.Mask, kind: Any, value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    found = mask.arrow(*(pa.array([v], kind.arrow()) for v in values)).to_pylist()[0]
    return "NULL" if found is None else code(found)


_ENGINES = {"postgres": "PostgreSQL", "mysql": "MariaDB", "sqlite": "SQLite", "duckdb": "files and services"}
_KEPT = {
    "token": "the vault is the agent's", "pseudonym": "the key would stand in the source's logs",
    "geo": "of two columns at once", "email": "seldom grouped by", "keep_first": "not every engine has NFC",
    "keep_last": "not every engine has NFC", "null": "nothing to group by", "constant": "nothing to group by",
}  # fmt: skip


def forms_table() -> str:
    """Where a source computes the mask itself, when a question groups by it, by type of the column."""
    rows = []
    for kind in masks.MASKS:
        built = list(_builds(_TRIED[kind][0][0]))
        forms = [", ".join(name for name, m in built if m.source(d)) or "-" for d in _ENGINES]
        if kind != "deny":
            rows.append((code(kind), *forms, _KEPT.get(kind, "")))
    return table(("mask", *_ENGINES.values(), "nowhere, because"), rows)


def _accepted(expression: str) -> Iterator[str]:
    return (name for name, _ in _builds(expression))


def _builds(expression: str) -> Iterator[tuple[str, masks.Mask]]:
    """(type, mask) of every type that takes the mask."""
    for name in _TYPES:
        # A bucket's edges have its column's type.
        dated = masks.parse(expression)[0] == "bucket" and name == "date"
        try:
            mask = masks.build("bucket(2000-01-01, a|b)" if dated else expression, parse(name), _CONTEXT)
        except masks.MaskError:
            continue
        yield name.partition("(")[0], mask


_WHEN = {
    "SYNTAX": "the text does not parse, or holds two statements",
    "STATEMENT": "a kind of statement that is not on the list, such as INSERT",
    "NODE": "a part of a statement, unit or option that is not on the list",
    "FUNCTION": "a function that is not on [the list](functions.md)",
    "TOO_LARGE": "a statement beyond the limits of length, depth or names",
    "NOT_AVAILABLE": "unknown, not granted, denied, or expired: one answer for all",
    "PURPOSE": "granted to you for another of your purposes, or several to choose from",
    "MODE": "the relation answers, but not this shape of question",
    "DISCLOSURE": "earlier answers and this one together would single out fewer than the floor",
    "GRANT_ENDED": "the grant ended while the answer was on its way",
    "AUTH": "no valid token or signature, or a message seen before",
    "BUDGET": "the day's budget is used up",
    "LIMIT": "seconds, memory, rows or bytes of the department",
    "BUSY": "the department's queue is full; ask again",
    "CLOSED": "the owner's breaker, or outside opening hours",
    "DOWN": "the department's agent does not answer, or stopped in the middle",
    "EXECUTION": "an expression failed over the rows you may see",
    "CANCELED": "stopped by you, or read no further",
    "SEMANTIC": "a name, type or grouping in the statement does not fit",
}


def outcomes_table() -> str:
    found = [o for o in Outcome if o is not Outcome.OK]
    rows = [(f"**{o.name}**", _WHEN[o.name], code(o.trino.name), str(o.trino.code), o.trino.kind) for o in found]
    return table(("outcome", "when", "Trino's errorName", "errorCode", "errorType"), rows)


def functions_list() -> str:
    """Names by kind, how many of Trino's they are, and why the others are not among them."""
    trinos = TRINO_FUNCTIONS.read_text(encoding="utf-8").split()
    found = coverage(trinos)
    said = (
        f"{len(LISTED)} functions and {len(OPERATORS)} operators. Trino 476 lists {len(trinos)} functions: "
        f"{found.answered} are answered and {found.refused} refused; {found.outside} have no meaning here: they are "
        f"about shapes, need sketches of Trino's own, or stand in FROM. Of those that have one, {found.share:.1%} are "
        "answered."
    )
    titles = {"scalar": "Scalar", "aggregate": "Aggregates", "window": "Window", "special": "Forms with a syntax"}
    parts = []
    for kind, title in titles.items():
        names = sorted(name for name, its in LISTED.items() if its == kind)
        parts.append(f"### {title}\n\n{', '.join(code(name) for name in names)}")
    parts.append(f"### Operators\n\n{', '.join(code(name) for name in OPERATORS)}")
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(REFUSED.items()):
        reasons.setdefault(why, []).append(code(name))
    refused = table(("why not", "functions"), [(why, ", ".join(names)) for why, names in sorted(reasons.items())])
    parts.append(f"### Refused by name\n\n{refused}")
    return f"{said}\n\n" + "\n\n".join(parts)


def city_tables_list() -> str:
    parts = []
    for found in city_tables().values():
        rows = [(code(c.name), code(c.type), c.unit and code(c.unit), c.comment) for c in found.columns]
        made = ", ".join(code(r) for r in found.relations)
        lines = [f"### `{found.name}`", found.comment, f"Made of {made}.", table(("column", "type", "unit", ""), rows)]
        if found.warning:
            lines.insert(3, f"Warns of rows that {found.warning}.")
        parts.append("\n\n".join(lines))
    return "\n\n".join(parts)


REGIONS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "department": department_keys,
    "sources": source_keys,
    "gateway": gateway_keys,
    "masks": masks_table,
    "mask-forms": forms_table,
    "outcomes": outcomes_table,
    "functions": functions_list,
    "city-tables": city_tables_list,
}

if __name__ == "__main__":
    raise SystemExit(main())
