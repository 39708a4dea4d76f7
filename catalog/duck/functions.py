# ruff: noqa: E501 - tables of functions read best one a line
"""The closed list of functions: each Trino name, how sqlglot parses it, its result type, its DuckDB form.

A function that is not here does not exist for atoll, whatever Trino, sqlglot or DuckDB know. To add one,
add a row to a table below and a case to the tests; say in the row how NULL, bounds and types behave.

    FUNCTIONS   Trino name (lower case) -> Function
    BY_NODE     sqlglot class -> Function
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import reduce
from typing import Any, Literal

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.parsers.trino import TrinoParser

from catalog.duck import comparing, moments, texts
from catalog.duck.lambdas import LAMBDAS, reduce_agg
from catalog.duck.typing import (
    MAX_CHAR,
    Typed,
    cast_to,
    common,
    comparable,
    decimal_of,
    decimal_quotient,
    from_local,
    mismatch,
    sql_text,
    unfit,
    unscaled,
)
from catalog.errors import Outcome, TrinoError, UserError
from catalog.types import BIGINT, BOOLEAN, DATE, DOUBLE, INTEGER, TIMESTAMP, UNBOUNDED, UNKNOWN, VARCHAR, TrinoType

__all__ = ["BY_NODE", "FUNCTIONS", "OUTSIDE", "REFUSED", "SESSION", "SPECIAL", "Function", "unknown_function"]

Kind = Literal["scalar", "aggregate", "window"]
Rule = Callable[[Sequence[Typed]], Typed]


@dataclass(frozen=True)
class Call:
    """How an aggregate is called: DISTINCT, inner ORDER BY, IGNORE NULLS. where: of FILTER. over: the whole OVER (..)."""

    distinct: bool = False
    order: str = ""
    nulls: str = ""
    where: str = ""
    over: str = ""

    def filtered(self, condition: str) -> Call:
        """The same call over the rows for which the condition holds too."""
        return replace(self, where=f"({self.where}) AND ({condition})" if self.where else condition)

    def __call__(self, name: str, *arguments: str) -> str:
        inner = ("DISTINCT " if self.distinct else "") + ", ".join(arguments)
        kept = f" FILTER (WHERE {self.where})" if self.where else ""
        return f"{name}({inner}{self.order}{self.nulls}){kept}{self.over}"


AggregateRule = Callable[[Sequence[Typed], Call], Typed]
FoldRule = Callable[[Any, Sequence[exp.Expr], Any, Call], Typed]

TINY, SMALL, REAL = TrinoType("tinyint"), TrinoType("smallint"), TrinoType("real")
VARBINARY = TrinoType("varbinary")
JSON = TrinoType("json")
COLOR = TrinoType("color")
STAMP_TZ = TrinoType("timestamp with time zone", (3,))


@dataclass(frozen=True)
class Function:
    """One function of the closed list.

    names: Trino's spellings. node: the sqlglot class, None if sqlglot parses it as Anonymous.
    keys: the class's argument keys in Trino's order; a key whose value is a list spreads.
    low, high: number of arguments. flags: other arguments of the node that carry no meaning here.
    rule of a scalar, aggregate, or fold: of an aggregate whose arguments are lambdas.
    """

    names: tuple[str, ...]
    node: type[exp.Expr] | None
    keys: tuple[str, ...]
    low: int
    high: int
    rule: Rule | None = None
    aggregate: AggregateRule | None = None
    kind: Kind = "scalar"
    flags: frozenset[str] = field(default_factory=frozenset)
    fold: FoldRule | None = None

    @property
    def name(self) -> str:
        return self.names[0]


_GEOSPATIAL = "no department publishes shapes, so none is computed with"
_GEOSPATIAL_NAMES = (
    "st_area st_asbinary st_astext st_boundary st_buffer st_centroid st_contains st_convexhull st_coorddim st_crosses "
    "st_difference st_dimension st_disjoint st_distance st_endpoint st_envelope st_envelopeaspts st_equals "
    "st_exteriorring st_geomfrombinary st_geomfromkml st_geometries st_geometryfromtext st_geometryn st_geometrytype "
    "st_interiorringn st_interiorrings st_intersection st_intersects st_isclosed st_isempty st_isring st_issimple "
    "st_isvalid st_length st_linefromtext st_linestring st_multipoint st_numgeometries st_numinteriorring st_numpoints "
    "st_overlaps st_point st_pointn st_points st_polygon st_relate st_startpoint st_symdifference st_touches st_union "
    "st_within st_x st_xmax st_xmin st_y st_ymax st_ymin bing_tile bing_tile_at bing_tile_coordinates "
    "bing_tile_polygon bing_tile_quadkey bing_tile_zoom_level bing_tiles_around convex_hull_agg from_encoded_polyline "
    "from_geojson_geometry geometry_from_hadoop_shape geometry_invalid_reason geometry_nearest_points "
    "geometry_to_bing_tiles geometry_union geometry_union_agg line_interpolate_point line_interpolate_points "
    "line_locate_point simplify_geometry spatial_partitioning spatial_partitions to_encoded_polyline "
    "to_geojson_geometry to_geometry to_spherical_geography"
)
_SKETCH = "it makes a sketch, whose bytes are Trino's own and which no answer carries"
_REASONS = {
    "the same question must give the same answer": "random rand uuid shuffle",
    "nanoseconds are not carried": "from_unixtime_nanos from_iso8601_timestamp_nanos",
    "its last digits depend on a library of Java":
        "normal_cdf inverse_normal_cdf beta_cdf inverse_beta_cdf t_cdf t_pdf",
    "it stands in FROM only": "exclude_columns",
    "it is approximate, without a stated bound": "numeric_histogram approx_most_frequent",
    _SKETCH:
        "approx_set empty_approx_set merge qdigest_agg tdigest_agg value_at_quantile values_at_quantiles "
        "quantile_at_value make_set_digest merge_set_digest hash_counts intersection_cardinality jaccard_index",
    _GEOSPATIAL: _GEOSPATIAL_NAMES,
    "SQL/JSON paths are not read; use json_extract and CAST(.. AS json)":
        "json_exists json_value json_query json_table json_array json_object",
}  # fmt: skip
REFUSED: dict[str, str] = {name: why for why, names in _REASONS.items() for name in names.split()}
"""Functions of Trino that are known and not answered -> why."""
OUTSIDE = frozenset(name for name, why in REFUSED.items() if why in (_GEOSPATIAL, _SKETCH, "it stands in FROM only"))
"""Those of them that have no meaning here: of shapes, of Trino's own state, of no expression."""
SESSION = ("current_date", "current_groups", "current_timezone", "version")
"""Functions that are answered out of the session, and so known to the gateway alone, or written without parentheses."""


def unknown_function(name: str, allowed: Sequence[str] = ()) -> UserError:
    """FUNCTION: refused by name, with the reason where it is known, else with the nearest allowed name."""
    name = name.lower()
    if name in REFUSED:
        return UserError(f"Function {name} is not available: {REFUSED[name]}.", Outcome.FUNCTION, rule="function list")
    near = get_close_matches(name, allowed or list(FUNCTIONS), n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}?" if near else ""
    return UserError(f"Function {name} is not available.", Outcome.FUNCTION, rule="function list", hint=hint)


# ---- result types and argument checks ----------------------------------------------------------------


GROWING = re.compile(r"\btr_(concat|append|bytes|replace|regexp_replace)\(|\brandom\(|\buuid\(")
"""Calls that DuckDB takes for volatile, which it refuses in TRY."""
LIMITED = re.compile(r"\btr_(order|ascii|from_unixtime|iso_stamp)\(|NOT_SUPPORTED")
"""Calls that refuse values at run time: TRY would make NULL of what is no error in Trino, or is one that passes TRY."""


def attempt(args: Sequence[Typed]) -> Typed:
    if GROWING.search(args[0].sql):
        raise UserError("try of concat, replace or random is not available.", Outcome.NODE, rule="closed list")
    if re.search(r"\(SELECT\b|\(WITH\b", args[0].sql):
        raise UserError("try of a subquery is not available.", Outcome.NODE, rule="closed list")
    if LIMITED.search(args[0].sql):
        raise UserError(
            "try of an order of arrays or rows, of word boundaries or ISO times is not available.", Outcome.NODE,
            rule="closed list",
        )  # fmt: skip
    return Typed(f"TRY({args[0].sql})", args[0].type)


_COLUMN = re.compile(r"""'(?:[^']|'')*'|("(?:[^"]|"")*"\."(?:[^"]|"")*")""")


def first_column(sql: str) -> str:
    """The first column that a text reads, "" if it reads none."""
    return next(filter(None, (found[1] for found in _COLUMN.finditer(sql))), "")


def sheltered(value: Typed) -> Typed:
    """The same value, where columns may stand, in a branch that is always taken.

    DuckDB computes what stands twice in a statement once, below it, and so outside of TRY and for every row, but for
    branches of CASE. The condition is never true, and no optimiser finds that out.
    """
    column = first_column(value.sql)
    if not column or "(" not in value.sql:
        return value
    return replace(value, sql=f"CASE WHEN ({column} IS NULL) IS NULL THEN NULL ELSE {value.sql} END")


def _known_type(kind: TrinoType) -> TrinoType:
    """A bare NULL is a tinyint where Trino takes the first of a function's forms."""
    return TINY if kind.name == "unknown" else kind


def _first(args: Sequence[Typed]) -> TrinoType:
    return args[0].type


def _need(name: str, args: Sequence[Typed], *tests: Callable[[TrinoType], bool]) -> None:
    for arg, test in zip(args, tests, strict=False):
        if arg.type.name != "unknown" and not test(arg.type):
            raise UserError(f"{name} does not take an argument of type {arg.type}.", Outcome.FUNCTION, rule="types")


def _is_text(t: TrinoType) -> bool:
    return t.name == "varchar"


def _is_string(t: TrinoType) -> bool:
    return t.is_text


def _is_json(t: TrinoType) -> bool:
    return t.name in ("json", "varchar")


def _is_narrow(t: TrinoType) -> bool:
    """What Trino takes where a function wants an integer, which a bigint does not become."""
    return t.is_integer and t.name != "bigint"


def _is_number(t: TrinoType) -> bool:
    return t.is_numeric


def _is_integer(t: TrinoType) -> bool:
    return t.is_integer


def _is_date(t: TrinoType) -> bool:
    return t.name == "date" or t.name.startswith("timestamp")


def _is_stamp(t: TrinoType) -> bool:
    return t.name.startswith("timestamp")


def _is_array(t: TrinoType) -> bool:
    return t.name == "array"


def _is_boolean(t: TrinoType) -> bool:
    return t.name == "boolean"


def _is_binary(t: TrinoType) -> bool:
    return t.name == "varbinary"


def _any(t: TrinoType) -> bool:
    return True


def _plain(
    name: str,
    template: str,
    result: TrinoType | Callable[[Sequence[Typed]], TrinoType],
    *tests: Callable[[TrinoType], bool],
) -> Rule:
    """A rule that checks the arguments, fills `template` ({0}, {1}, ..) and casts where types may differ."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, *tests)
        kind = result if isinstance(result, TrinoType) else result(args)
        return Typed(template.format(*(a.sql for a in args)), kind)

    return rule


def _doubles(name: str, template: str) -> Rule:
    """All arguments become double, as Trino's mathematical functions take them."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, *[_is_number] * len(args))
        return Typed(template.format(*(cast_to(a, DOUBLE).sql for a in args)), DOUBLE)

    return rule


def text_like(args: Sequence[Typed]) -> TrinoType:
    """A varchar as long as the first argument: what Trino gives where a function makes no text longer."""
    kind = args[0].type
    if kind.name == "unknown":
        return TrinoType("varchar", (0,))
    return TrinoType("varchar", kind.args) if kind.is_text else VARCHAR


def texts_like(args: Sequence[Typed]) -> TrinoType:
    return TrinoType("array", (text_like(args),))


def replaced(args: Sequence[Typed]) -> TrinoType:
    """What replace(a, b, c) can grow to."""
    x, z = text_like(args).args[0], text_like(args[2:]).args[0]
    return TrinoType("varchar", (min(UNBOUNDED, x + z * (x + 1)),))


def _regexp_replaced(args: Sequence[Typed]) -> TrinoType:
    x, y = text_like(args).args[0], text_like(args[2:]).args[0] if len(args) > 2 else 0
    return TrinoType("varchar", (min(UNBOUNDED, x + max(x * y // 2, y) * (x + 1)),)) if y else text_like(args)


def _called(
    name: str,
    kind: TrinoType | Callable[[Sequence[Typed]], TrinoType],
    *tests: Callable[[TrinoType], bool],
    call: str = "",
) -> Rule:
    """A function of `catalog.duck.scalars` or a macro, with the arguments as they come."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, *tests)
        result = kind if isinstance(kind, TrinoType) else kind(args)
        return Typed(f"{call or f'tr_{name}'}({', '.join(a.sql for a in args)})", result)

    return rule


def _varchar(length: int) -> TrinoType:
    return TrinoType("varchar", (length,))


# ---- numbers -----------------------------------------------------------------------------------------


def _doubles_to(name: str, kind: TrinoType) -> Rule:
    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, *[_is_number] * len(args))
        return Typed(f"tr_{name}({', '.join(cast_to(a, DOUBLE).sql for a in args)})", kind)

    return rule


def _url(part: str) -> Rule:
    def rule(args: Sequence[Typed]) -> Typed:
        _need(f"url_extract_{part}", args, _is_text)
        call = f"tr_url_part({args[0].sql}, '{part}')"
        return Typed(f"CAST({call} AS BIGINT)", BIGINT) if part == "port" else Typed(call, text_like(args))

    return rule


def _of_null(kind: TrinoType | Callable[[Sequence[Typed]], TrinoType], rule: Rule) -> Rule:
    """A rule whose pattern or format is a literal, and NULL where that or another argument is a bare NULL."""

    def checked(args: Sequence[Typed]) -> Typed:
        if not any(a.type.name == "unknown" for a in args):
            return rule(args)
        result = kind if isinstance(kind, TrinoType) else kind(args)
        return Typed(f"CAST(NULL AS {result.duckdb()})", result)

    return checked


def _never_empty(name: str, pattern: Typed) -> None:
    """Refuse a pattern that matches between two characters: RE2's places of such matches are not Java's."""
    try:
        found = re.finditer(str(pattern.value), "a b1\n-")
        if all(match.end() > match.start() for match in found) and not re.search(str(pattern.value), ""):
            return
    except (re.error, RecursionError, OverflowError):
        return
    raise UserError(f"{name} does not support patterns that match nothing.", Outcome.NODE, rule="closed list")


def _regexp_position(args: Sequence[Typed]) -> Typed:
    """Place of the n-th match from a start: what lies before the matches is measured."""
    _never_empty("regexp_position", args[1])
    _need("regexp_position", args, _is_text, _is_text, _is_integer, _is_integer)
    start, instance = (a.sql for a in [*args[2:], Typed("1", INTEGER), Typed("1", INTEGER)][:2])
    return Typed(
        f"CAST(tr_regexp_position({_subject(*args[:2])}, {_pattern('regexp_position', args[1])}, {start}, {instance})"
        " AS INTEGER)",
        INTEGER,
    )


def _whole(name: str, call: str) -> Rule:
    """ceil, floor, truncate with one argument: integers stay, decimals lose their scale."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_number)
        kind = _known_type(args[0].type)
        if kind.is_integer:
            return Typed(cast_to(args[0], kind).sql, kind)
        if kind.name == "decimal":
            p, s = kind.args
            kind = TrinoType("decimal", (max(1, p - s) if name == "truncate" else min(38, p - s + min(s, 1)), 0))
            return Typed(f"CAST({call}({args[0].sql}) AS {kind.duckdb()})", kind)
        return Typed(f"CAST({call}({args[0].sql}) AS {kind.duckdb()})", kind)

    return rule


def _round(args: Sequence[Typed]) -> Typed:
    if args[0].type.name == "unknown":
        return cast_to(args[0], TINY)
    if len(args) == 1:
        return _whole("round", "tr_round" if args[0].type.name in ("double", "real") else "round")(args)
    return _digits("round", args)


def _truncate(args: Sequence[Typed]) -> Typed:
    """Integers are decimals to it."""
    digits = decimal_of(args[0].type)
    if args[0].type.name == "unknown":
        args = [cast_to(args[0], TrinoType("decimal", (1, 0))), *args[1:]]
    if args[0].type.is_integer and digits:
        args = [cast_to(args[0], TrinoType("decimal", digits)), *args[1:]]
    if len(args) == 1:
        return _whole("truncate", "trunc")(args)
    return _digits("trunc", args)


def _digits(call: str, args: Sequence[Typed]) -> Typed:
    _need(call, args, _is_number, _is_integer)
    value, digits = args
    kind = value.type
    if kind.name == "decimal":
        p, s = kind.args
        if not isinstance(digits.value, int):
            raise UserError(f"{call} of a decimal needs a literal number of digits.", Outcome.NODE, rule="closed list")
        kind = TrinoType("decimal", (min(38, p + 1), s)) if call == "round" else kind
        if digits.value >= s:
            return Typed(f"CAST({value.sql} AS {kind.duckdb()})", kind)
    if kind.name == "decimal" and kind.args[0] == 38 and call == "round":
        tried = f"TRY(CAST(round(q['a'], {digits.sql}) AS {kind.duckdb()}))"
        failed = f"CAST(tr_fail('NUMERIC_VALUE_OUT_OF_RANGE') AS {kind.duckdb()})"
        made = f"CASE WHEN q['a'] IS NOT NULL AND {tried} IS NULL THEN {failed} ELSE {tried} END"
        return Typed(comparing.together(kind, value.sql, "NULL", made), kind)
    if kind.name in ("double", "real"):
        if call != "round":
            raise unfit(f"truncate to digits does not take {kind}.")
        call = "tr_round_to"
    return Typed(f"CAST({call}({value.sql}, {digits.sql}) AS {kind.duckdb()})", kind)


def _sign(args: Sequence[Typed]) -> Typed:
    _need("sign", args, _is_number)
    kind = _known_type(args[0].type)
    if kind.name == "decimal":
        kind = TrinoType("decimal", (1, 0))
    call = "tr_sign" if kind.name in ("double", "real") else "sign"
    return Typed(f"CAST({call}({args[0].sql}) AS {kind.duckdb()})", kind)


def _extreme(call: str) -> Rule:
    """greatest, least: NULL as soon as one argument is NULL (DuckDB skips NULLs)."""

    def rule(args: Sequence[Typed]) -> Typed:
        kind = common([a.type for a in args])
        if kind is None:
            raise unfit(f"{call} needs arguments of one type.")
        parts = [cast_to(a, kind).sql for a in args]
        if "map" in str(kind) or kind.name == "json":
            raise unfit(f"{call} cannot order {kind}.")
        if comparing.is_compound(kind):
            chosen = comparing.extreme(kind, "q['a']", "q['b']", call == "greatest")
            return Typed(reduce(lambda a, b: comparing.together(kind, a, b, chosen), parts), kind)
        if kind.name in ("double", "real"):
            return Typed(reduce(lambda a, b: f"tr_{'max' if call == 'greatest' else 'min'}({a}, {b})", parts), kind)
        nulls = " OR ".join(f"{p} IS NULL" for p in parts)
        return Typed(f"CASE WHEN {nulls} THEN NULL ELSE {call}({', '.join(parts)}) END", kind)

    return rule


def coalesce(args: Sequence[Typed]) -> Typed:
    kind = common([a.type for a in args])
    if kind is None:
        raise mismatch("coalesce needs arguments of one type.")
    return Typed(f"coalesce({', '.join(cast_to(a, kind).sql for a in args)})", kind)


def _nullif(args: Sequence[Typed]) -> Typed:
    kind = comparable(args[0].type, args[1].type, "nullif")
    if not comparing.is_compound(kind) and args[0].type == args[1].type and kind.name not in ("double", "real"):
        return Typed(f"nullif({args[0].sql}, {args[1].sql})", args[0].type)
    # Typed as the first argument, compared as both: both stand in a struct, so that neither is written twice.
    first, second = (Typed(f"q['{n}']", a.type) for n, a in zip("ab", args, strict=True))
    same = comparing.equality(first, second, kind).sql
    made = f"CASE WHEN coalesce({same}, false) THEN NULL ELSE q['a'] END"
    null = Typed("NULL", args[1].type) if args[1].type.name == "unknown" else args[1]
    return Typed(comparing.together(kind, args[0].sql, null.sql, made), args[0].type)


# ---- text --------------------------------------------------------------------------------------------


def concat(args: Sequence[Typed]) -> Typed:
    """Texts, bytes, or arrays, of which one may be a mere element."""
    if len(args) < 2:
        raise UserError("concat takes two values or more.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT, rule="types")
    if any(_is_array(a.type) for a in args):
        return _concat_arrays(args)
    if len(args) == 2 and any(a.type.name == "unknown" for a in args):
        return _concat_null([a.type for a in args])
    if all(_is_binary(a.type) for a in args):
        kind = VARBINARY
    else:
        chars = [a for a in args if a.type.name == "char"]
        if any(not a.type.is_text and a.type.name != "unknown" for a in args) or (chars and len(args) != 2):
            raise unfit(f"concat does not take {', '.join(str(a.type) for a in args)}.")
        kind = VARCHAR
        if chars:
            length = sum(min(a.type.args[0], MAX_CHAR) for a in args if a.type.args)
            if length > MAX_CHAR:
                raise UserError(f"The type char({length}) is not known.", trino=TrinoError.TYPE_NOT_FOUND, rule="types")
            kind = TrinoType("char", (length,))
            padded = f"{texts.text_of(args[0])}, {args[1].sql}"
            return Typed(f"rtrim(tr_concat({padded}), ' ')", kind)
        if all(a.type.name == "unknown" for a in args):
            raise ambiguous()
    sql = _known(args[0], kind)
    for arg in args[1:]:
        sql = f"{'tr_bytes' if kind == VARBINARY else 'tr_concat'}({sql}, {_known(arg, kind)})"
    return Typed(sql, kind)


def _concat_null(kinds: Sequence[TrinoType]) -> Typed:
    """Of a NULL and a varchar(n) Trino takes the NULL for an array; beside anything else it may be two things."""
    known = [k for k in kinds if k.name != "unknown"]
    if not known or known[0].name != "varchar" or known[0] == VARCHAR:
        raise ambiguous()
    kind = TrinoType("array", (known[0],))
    return Typed(f"CAST(NULL AS {kind.duckdb()})", kind)


def ambiguous() -> UserError:
    return UserError(
        "An empty array or NULL may be several things here.", trino=TrinoError.AMBIGUOUS_FUNCTION_CALL, rule="types",
        hint="Cast it.",
    )  # fmt: skip


def _concat_arrays(args: Sequence[Typed]) -> Typed:
    lists = [a.type for a in args if _is_array(a.type)]
    loose_nulls = any(a.type.name == "unknown" for a in args)
    if len(args) == 2 and (loose_nulls or len({t.args[0].name == "unknown" for t in lists}) > 1):
        raise ambiguous()
    kinds = [a.type for a in args]
    kind = common(kinds)
    if kind is None and len(args) == 2:  # one is an element of the other, and may be an array itself
        elements = [TrinoType("array", (k,)) for k in kinds]
        kind = common([kinds[0], elements[1]]) or common([elements[0], kinds[1]])
    if kind is None:
        raise unfit("concat needs arrays of one type.")
    parts = [
        cast_to(a, kind).sql if common([a.type, kind]) == kind else f"tr_one({cast_to(a, kind.args[0]).sql})"
        for a in args
    ]
    return Typed(reduce(lambda a, b: f"tr_append({a}, {b})", parts), kind)


def _known(arg: Typed, kind: TrinoType) -> str:
    """A NULL needs the result's type: DuckDB's own NULL would give the result another."""
    return cast_to(arg, kind).sql if arg.type.name == "unknown" else arg.sql


def _substr(args: Sequence[Typed]) -> Typed:
    _need("substr", args, lambda t: t.is_text or _is_binary(t), _is_integer, _is_integer)
    start = args[1].value
    if args[0].type.name == "unknown":
        raise ambiguous()
    if args[0].type.name == "char":
        args = [Typed(texts.text_of(args[0]), TrinoType("varchar", args[0].type.args)), *args[1:]]
    if args[0].type.name == "varbinary":
        length = args[2].sql if len(args) == 3 else "9223372036854775807"
        return Typed(f"tr_substr_bytes({args[0].sql}, {args[1].sql}, {length})", VARBINARY)
    if isinstance(start, int) and 0 < start < 2**31 and (len(args) == 2 or _positive(args[2])):
        return Typed(f"substr({', '.join(a.sql for a in args)})", text_like(args))
    call = "tr_substr" if len(args) == 2 else "tr_substr3"
    return Typed(f"{call}({', '.join(a.sql for a in args)})", text_like(args))


def _positive(arg: Typed) -> bool:
    return isinstance(arg.value, int) and 0 < arg.value < 2**31


def _literal(name: str, what: str, arg: Typed) -> str:
    if not isinstance(arg.value, str):
        raise UserError(f"{name} needs a literal {what}.", Outcome.NODE, rule="closed list")
    return arg.value


def _pattern(name: str, arg: Typed) -> str:
    """A literal regular expression of Java's dialect in RE2's, where the two mean the same; refused otherwise."""
    text = _literal(name, "pattern", arg)
    for part, what in _NOT_RE2.items():
        if re.search(part, text):
            raise UserError(f"{name} does not support {what}.", Outcome.NODE, rule="closed list")
    text = re.sub(r"\\p\{Is([A-Z][A-Za-z]+)\}", r"\\p{\1}", text)
    return sql_text(re.sub(r"(?<!\\)\(\?<([A-Za-z])", r"(?P<\1", text))


_NOT_RE2 = {
    r"\(\?<?[=!]": "looking ahead or behind",
    r"\\[1-9]|\\k<": "references to groups",
    r"[*+?}]\+|\(\?>": "possessive parts",
    r"\\[GZhHRX]|&&": "this part of Java's regular expressions",
}


def _subject(arg: Typed, pattern: Typed) -> str:
    """The text that is searched. RE2's word boundaries and classes as [:alpha:] know ASCII alone: other texts are refused."""
    if re.search(r"\\[bB]|\[:", str(pattern.value)):
        return f"tr_ascii({arg.sql})"
    return arg.sql


def _groups(arg: Typed) -> int:
    try:
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", re.sub(r"\\p\{[^}]*\}", "x", str(arg.value)))).groups
    except (re.error, RecursionError, OverflowError):
        return 0


def _regexp_extract(name: str, all_: bool) -> Rule:
    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_text, _is_text, _is_integer)
        group = args[2].value if len(args) == 3 else 0
        if not isinstance(group, int):
            raise UserError(f"{name} needs a literal group.", Outcome.NODE, rule="closed list")
        pattern = _pattern(name, args[1])
        if not 0 <= group <= _groups(args[1]):
            raise UserError(f"The pattern has no group {group}.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT)
        if all_:
            return Typed(f"regexp_extract_all({_subject(*args[:2])}, {pattern}, {group})", texts_like(args))
        text = f"regexp_extract_all({_subject(*args[:2])}, {pattern}, {group})[1]"
        return Typed(text, text_like(args))

    return rule


def _regexp(name: str, template: str, kind: TrinoType | Callable[[Sequence[Typed]], TrinoType]) -> Rule:
    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_text, _is_text)
        result = kind if isinstance(kind, TrinoType) else kind(args)
        return Typed(template.format(_subject(*args[:2]), _pattern(name, args[1])), result)

    return rule


def _regexp_split(args: Sequence[Typed]) -> Typed:
    _never_empty("regexp_split", args[1])
    return _regexp("regexp_split", "regexp_split_to_array({0}, {1})", texts_like)(args)


def _regexp_replace(args: Sequence[Typed]) -> Typed:
    _need("regexp_replace", args, _is_text, _is_text, _is_text)
    replacement = _literal("regexp_replace", "replacement", args[2]) if len(args) == 3 else ""
    if "${" in replacement:
        raise UserError("regexp_replace does not support names of groups.", Outcome.NODE, rule="closed list")
    out, i = "", 0
    while i < len(replacement):
        c = replacement[i]
        following = replacement[i + 1 : i + 2]
        if c == "$" and following.isdigit():
            out += "\\" + following
            i += 2
        elif c == "\\" and following:
            out += "\\\\" if following == "\\" else following
            i += 2
        else:
            out += "\\\\" if c == "\\" else c
            i += 1
    return Typed(
        f"tr_regexp_replace({_subject(*args[:2])}, {_pattern('regexp_replace', args[1])}, {sql_text(out)})",
        _regexp_replaced(args),
    )


# Python's strftime codes, which sqlglot makes of Trino's MySQL format, that DuckDB writes as Trino does.
_UNKNOWN_CODES = frozenset(["%D", "%U", "%u", "%V", "%w", "%X"])
_FORMAT_CODES = frozenset(
    ["%Y", "%y", "%m", "%-m", "%d", "%-d", "%H", "%-H", "%I", "%-I", "%M", "%S", "%f", "%j", "%B", "%b",
     "%A", "%a", "%p", "%T", "%%", "%G", "%v"]
)  # fmt: skip
_MEANINGFUL_CODES = frozenset(
    ["%c", "%e", "%h", "%i", "%k", "%l", "%r", "%s", "%W", "%x", "%g", "%I", "%-S", "%-j", "%-y"]
)
"""Codes that a format may hold beside those, and that mean something else in one of the two."""


def _format(name: str, arg: Typed) -> str:
    text = _literal(name, "format", arg)
    if text in ("", "None"):  # sqlglot reads '' as 'None'
        raise UserError(f"{name} does not support an empty format.", Outcome.NODE, rule="closed list")
    return sql_text(re.sub("%-?.", lambda found: _format_code(name, found[0]), text))


def _format_code(name: str, code: str) -> str:
    """A code as DuckDB has it; a letter that means nothing stands for itself."""
    if code in _UNKNOWN_CODES:
        raise UserError(f"{name} does not know {code}.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT)
    if code in _FORMAT_CODES:
        return {"%T": "%H:%M:%S", "%v": "%V"}.get(code, code)
    if code in _MEANINGFUL_CODES:
        raise UserError(f"{name} does not support the code {code}.", Outcome.NODE, rule="closed list")
    return code[1:]


def _length(args: Sequence[Typed]) -> Typed:
    if args[0].type.name == "char":
        return Typed(f"CAST(CASE WHEN {args[0].sql} IS NOT NULL THEN {args[0].type.args[0]} END AS BIGINT)", BIGINT)
    if args[0].type.name == "varbinary":
        return Typed(f"CAST(octet_length({args[0].sql}) AS BIGINT)", BIGINT)
    return _plain("length", "length({0})", BIGINT, _is_text)(args)


def _reverse(args: Sequence[Typed]) -> Typed:
    """Of an array its elements, of a text its code points (DuckDB's own keeps letters and their marks together)."""
    if args[0].type.name == "unknown":
        raise ambiguous()
    if args[0].type.name == "varbinary":
        return Typed(f"tr_reverse_bytes({args[0].sql})", VARBINARY)
    if args[0].type.name == "array":
        return Typed(f"tr_reversed({args[0].sql})", args[0].type)
    if args[0].type.name == "char":
        return Typed(f"rtrim(tr_reverse({texts.text_of(args[0])}), ' ')", args[0].type)
    return _plain("reverse", "tr_reverse({0})", text_like, _is_text)(args)


def _strpos(args: Sequence[Typed]) -> Typed:
    if len(args) == 2:
        # DuckDB makes a prefix of strpos(..) = 1, and fails where it finds out then that the part is NULL.
        found = "abs(strpos({0}, {1}))" if "(" in args[1].sql else "strpos({0}, {1})"
        return _plain("strpos", f"CAST({found} AS BIGINT)", BIGINT, _is_text, _is_text)(args)
    return _called("strpos", BIGINT, _is_text, _is_text, _is_integer, call="tr_strpos_nth")(args)


def _split(args: Sequence[Typed]) -> Typed:
    call = "tr_split" if len(args) == 2 else "tr_split_limited"
    return _called("split", texts_like, _is_text, _is_text, _is_integer, call=call)(args)


def _concat_ws(args: Sequence[Typed]) -> Typed:
    if len(args) == 2 and args[1].type.name == "array":
        _need("concat_ws", args, _is_text)
        args = [args[0], cast_to(args[1], TrinoType("array", (VARCHAR,)))]
        return _joined(args[1].sql, args[0])
    _need("concat_ws", args, *[_is_text] * len(args))
    # In a lambda, so that what is measured is not written out, and a subquery not read, twice.
    listed = ", ".join(x.sql for x in args)
    parts = ", ".join(f"w[{i}]" for i in range(2, len(args) + 1))
    size = f"list_sum(list_transform(w, lambda v: strlen(v))) + {len(args)} * strlen(w[1])"
    joined = f"concat_ws(tr_fits(w[1], {size}), {parts})"
    return Typed(f"list_transform([CAST([{listed}] AS VARCHAR[])], lambda w: {joined})[1]", VARCHAR)


def _codepoint(args: Sequence[Typed]) -> Typed:
    """Of a varchar(1)."""
    _need("codepoint", args, _is_text)
    if args[0].type.name == "varchar" and args[0].type.args[0] > 1:
        raise unfit("codepoint takes a varchar(1).")
    return Typed(f"tr_codepoint({args[0].sql})", INTEGER)


def _decoded(name: str) -> Rule:
    """Bytes out of a text, or out of bytes that are one."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, lambda t: t.name == "varchar" or _is_binary(t))
        text = f"tr_from_utf8({args[0].sql}, '*')" if _is_binary(args[0].type) else args[0].sql
        return Typed(f"tr_{name}({text})", VARBINARY)

    return rule


def _normalize(args: Sequence[Typed]) -> Typed:
    _need("normalize", args, _is_text)
    form = str(args[1].value) if len(args) == 2 else "NFC"
    if form not in ("NFC", "NFD", "NFKC", "NFKD"):
        raise UserError("normalize takes NFC, NFD, NFKC or NFKD.", Outcome.SYNTAX, rule="function list")
    call = f"tr_nfc({args[0].sql})" if form == "NFC" else f"tr_normalized({args[0].sql}, '{form}')"
    return Typed(call, VARCHAR)


def _cased(call: str) -> Rule:
    """lower, upper: a char stays one."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(call, args, _is_string)
        kind = args[0].type if args[0].type.name == "char" else text_like(args)
        if call == "lower":
            return Typed(f"lower({args[0].sql})", kind)
        return Typed(f"replace(upper(replace({args[0].sql}, 'ß', chr(1114109))), chr(1114109), 'ß')", kind)

    return rule


def _from_utf8(args: Sequence[Typed]) -> Typed:
    """The replacement of what is broken is a text of one character or none, or the number of one."""
    mark = [*args, Typed("chr(65533)", VARCHAR)][1]
    if mark.type.is_integer:
        mark = Typed(f"tr_chr({mark.sql})", VARCHAR)
    return _called("from_utf8", VARCHAR, _is_binary, _is_text)([args[0], mark])


def _to_utf8(args: Sequence[Typed]) -> Typed:
    _need("to_utf8", args, _is_string)
    text = texts.text_of(args[0]) if args[0].type.name == "char" else args[0].sql
    return Typed(f"encode({text})", VARBINARY)


def _shifted_bits(name: str) -> Rule:
    """bitwise_left_shift and the two to the right, in the width of the first argument's type."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_integer, _is_narrow)
        kind = _known_type(args[0].type)
        bits = {"tinyint": 8, "smallint": 16, "integer": 32}.get(kind.name, 64)
        return Typed(f"CAST(tr_{name}({args[0].sql}, {args[1].sql}, {bits}) AS {kind.duckdb()})", kind)

    return rule


def _width_bucket(args: Sequence[Typed]) -> Typed:
    if len(args) == 2:
        _need("width_bucket", args, _is_number, _is_array)
        bins = cast_to(args[1], TrinoType("array", (DOUBLE,))).sql
        return Typed(f"CAST(tr_bucket({cast_to(args[0], DOUBLE).sql}, {bins}) AS BIGINT)", BIGINT)
    _need("width_bucket", args, _is_number, _is_number, _is_number, _is_integer)
    if len(args) != 4:
        raise UserError("width_bucket takes 2 or 4 arguments.", trino=TrinoError.INVALID_ARGUMENTS)
    ends = ", ".join(cast_to(a, DOUBLE).sql for a in args[:3])
    return Typed(f"tr_width_bucket({ends}, {cast_to(args[3], BIGINT).sql})", BIGINT)


def _vectors(name: str) -> Rule:
    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_array, _is_array)
        lists = TrinoType("array", (DOUBLE,))
        return Typed(f"tr_{name}({cast_to(args[0], lists).sql}, {cast_to(args[1], lists).sql})", DOUBLE)

    return rule


def _is_color(t: TrinoType) -> bool:
    return t == COLOR


def _color(args: Sequence[Typed]) -> Typed:
    """Of a name or #rgb; between two colours by a share of 0 to 1, or by a value between two others."""
    if len(args) == 1:
        return _called("color", COLOR, _is_text)(args)
    if len(args) not in (3, 5):
        raise unfit("color takes 1, 3 or 5 arguments.")
    *numbers, low, high = args
    _need("color", numbers, *[_is_number] * len(numbers))
    _need("color", (low, high), _is_color, _is_color)
    share, *ends = (cast_to(n, DOUBLE).sql for n in numbers)
    if ends:
        share = f"(({share} - {ends[0]}) / ({ends[1]} - {ends[0]}))"
    return Typed(f"tr_color_between({share}, {low.sql}, {high.sql})", COLOR)


def _render(args: Sequence[Typed]) -> Typed:
    value = args[0]
    if len(args) == 1:
        _need("render", args, _is_boolean)
        sign = f"CASE WHEN {value.sql} THEN '\u2713' WHEN NOT {value.sql} THEN '\u2717' END"
        return Typed(f"tr_render({sign}, CASE WHEN {value.sql} THEN -3 ELSE -2 END)", _varchar(16))
    _need("render", args, lambda t: t.is_text or t.is_numeric, _is_color)
    if value.type.name == "unknown":
        raise ambiguous()
    if value.type.is_text:
        length = min(UNBOUNDED, text_like(args).args[0] + 15)
        return Typed(f"tr_render({texts.text_of(cast_to(value, VARCHAR))}, {args[1].sql})", _varchar(length))
    if value.type.is_integer:
        return Typed(f"tr_render(CAST({value.sql} AS VARCHAR), {args[1].sql})", _varchar(35))
    return Typed(f"tr_render_double({cast_to(value, DOUBLE).sql}, {args[1].sql})", _varchar(41))


def _bar(args: Sequence[Typed]) -> Typed:
    _need("bar", args, _is_number, _is_integer, _is_color, _is_color)
    if len(args) == 3:
        raise unfit("bar takes 2 or 4 arguments.")
    low, high = (a.sql for a in args[2:]) if len(args) == 4 else (str(0xFF0000), str(0x00FF00))
    return Typed(f"tr_bar({cast_to(args[0], DOUBLE).sql}, {args[1].sql}, {low}, {high})", VARCHAR)


def _combinations(args: Sequence[Typed]) -> Typed:
    _need("combinations", args, _is_array, _is_integer)
    kind = _array_first(args)
    chosen = f"tr_choices(len({args[0].sql}), {args[1].sql})"
    sql = f"list_transform({chosen}, lambda c: list_transform(c, lambda i: list_extract({args[0].sql}, i)))"
    return Typed(sql, TrinoType("array", (kind,)))


def _word_stem(args: Sequence[Typed]) -> Typed:
    """Of English words; other languages are refused by name."""
    _need("word_stem", args, _is_text, _is_text)
    return Typed(f"tr_stem({args[0].sql}, {args[1].sql if len(args) == 2 else sql_text('en')})", text_like(args))


def _duration(args: Sequence[Typed]) -> Typed:
    return _called("duration", moments.DAYS, _is_text)(args)


def _from_unixtime(args: Sequence[Typed]) -> Typed:
    _need("from_unixtime", args, _is_number)
    sql, kind = f"tr_from_unixtime({cast_to(args[0], DOUBLE).sql})", moments.of_session(3)
    if len(args) == 2:
        return moments.at_timezone(Typed(sql, kind), args[1])
    if len(args) == 3:
        hours, minutes = args[1].value, args[2].value
        if not isinstance(hours, int) or not isinstance(minutes, int):
            raise UserError("from_unixtime needs a literal zone.", Outcome.NODE, rule="closed list")
        total = hours * 60 + minutes
        return Typed(sql, moments.zoned(3, f"{'-' if total < 0 else '+'}{abs(total) // 60:02}:{abs(total) % 60:02}"))
    return Typed(sql, kind)


def _with_timezone(args: Sequence[Typed]) -> Typed:
    if args[0].type.name == "date":
        args = [cast_to(args[0], TrinoType("timestamp", (0,))), *args[1:]]
    _need("with_timezone", args, _is_stamp, _is_text)
    if not isinstance(args[1].value, str):
        raise UserError("with_timezone needs a literal zone.", Outcome.NODE, rule="closed list")
    return from_local(args[0].sql, moments.zoned(args[0].type.args[0], args[1].value))


def _moment(name: str, args: Sequence[Typed]) -> Typed:
    """A date or timestamp without a zone is one in the session's."""
    _need(name, args, _is_date)
    kind = args[0].type
    if kind.name == "timestamp with time zone":
        return args[0]
    return cast_to(args[0], moments.of_session(*(kind.args or (0,))))


def _offset(value: Typed) -> str:
    """Seconds from UTC of the zone in which a moment is shown."""
    return f"CAST(epoch({moments.local_time(value)}) - epoch({value.sql}) AS BIGINT)"


def _at_timezone(args: Sequence[Typed]) -> Typed:
    return moments.at_timezone(_moment("at_timezone", args[:1]), args[1])


def zone_part(name: str, value: Typed) -> Typed:
    """timezone_hour and timezone_minute, which EXTRACT shares."""
    sql = _offset(_moment(name, [value]))
    return Typed(f"({sql} // 3600)" if name == "timezone_hour" else f"({sql} % 3600 // 60)", BIGINT)


def _zone_part(name: str) -> Rule:
    return lambda args: zone_part(name, args[0])


def _timezone(args: Sequence[Typed]) -> Typed:
    value = _moment("timezone", args)
    return Typed(f"CASE WHEN {value.sql} IS NOT NULL THEN {sql_text(value.type.zone)} END", VARCHAR)


def _from_iso8601_timestamp(args: Sequence[Typed]) -> Typed:
    """In the zone that a literal names, else the session's: a column has one zone, so texts with another are refused."""
    _need("from_iso8601_timestamp", args, _is_text)
    found = re.search(r"T.*?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)$", str(args[0].value or ""))
    zone = found[1] if found else ""
    if zone:
        kind = moments.zoned(3, zone)
        return Typed(f"timezone('UTC', tr_iso_stamp({args[0].sql}, {sql_text(zone)}))", kind)
    kind = moments.of_session(3)
    local = f"tr_iso_stamp({args[0].sql}, {sql_text('Z' if kind.zone == 'UTC' else '')})"
    return from_local(local, kind, "tr_first_time")


def _last_day(args: Sequence[Typed]) -> Typed:
    _need("last_day_of_month", args, _is_date)
    return Typed(f"last_day({moments.local_time(args[0])})", DATE)


def _to_unixtime(args: Sequence[Typed]) -> Typed:
    _need("to_unixtime", args, _is_date)
    if args[0].type.name == "unknown":
        return cast_to(args[0], DOUBLE)
    if args[0].type.args[:1] > (3,):
        return Typed(f"tr_unixtime({_moment('to_unixtime', args).sql})", DOUBLE)
    return Typed(f"CAST(epoch({_moment('to_unixtime', args).sql}) AS DOUBLE)", DOUBLE)


def _to_milliseconds(args: Sequence[Typed]) -> Typed:
    _need("to_milliseconds", args, lambda t: t == moments.DAYS)
    return Typed(args[0].sql, BIGINT)


_JODA = {
    "yyyy": "%Y", "y": "%Y", "YYYY": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d", "d": "%-d",
    "EEEE": "%A", "EEE": "%a", "E": "%a", "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S",
    "s": "%-S", "SSS": "%g", "a": "%p", "DDD": "%j", "D": "%-j", "e": "%u", "ww": "%V", "xxxx": "%G",
}  # fmt: skip


def _joda(name: str, text: str) -> str:
    """A format of Java's words as DuckDB's; a letter that is not on the list is refused by name."""
    out = ""
    for found in re.finditer(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|'", text):
        part = found[0]
        if part[0] == "'":
            out += ("'" if part == "''" else (found[1] or "").replace("''", "'")).replace("%", "%%")
        elif not part[0].isalpha():
            out += part.replace("%", "%%")
        elif part in _JODA:
            out += _JODA[part]
        elif part[0] not in "GCxweEYyDMdaKhHkmsSzZ":
            raise UserError(f"{name} does not know {part[0]}.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT)
        else:
            raise UserError(f"{name} does not support the letters {part}.", Outcome.NODE, rule="closed list")
    return out


def _format_datetime(args: Sequence[Typed]) -> Typed:
    _need("format_datetime", args, _is_date, _is_text)
    form = _joda("format_datetime", _literal("format_datetime", "format", args[1]))
    return Typed(f"strftime({_to_milliseconds_of(args[0])}, {sql_text(form)})", VARCHAR)


def _parse_datetime(args: Sequence[Typed]) -> Typed:
    _need("parse_datetime", args, _is_text, _is_text)
    form = _joda("parse_datetime", _literal("parse_datetime", "format", args[1]))
    if "%y" in form:  # its century depends on the day
        raise UserError("parse_datetime does not support years of two digits.", Outcome.NODE, rule="closed list")
    return from_local(_parsed(args[0].sql, sql_text(form)), moments.of_session(3), "tr_first_time")


def _to_milliseconds_of(value: Typed) -> str:
    """Local time in milliseconds, finer ones rounded: what Trino formats."""
    local = moments.local_time(value)
    if value.type.name != "date" and value.type.args[0] > 3:
        return f"tr_round_stamp({local}, 1000)"
    return f"CAST({local} AS TIMESTAMP)"  # of another unit, DuckDB formats only what fits into nanoseconds


def _date_format(args: Sequence[Typed]) -> Typed:
    _need("date_format", args, _is_date)
    return Typed(f"strftime({_to_milliseconds_of(args[0])}, {_format('date_format', args[1])})", VARCHAR)


def _date_parse(args: Sequence[Typed]) -> Typed:
    _need("date_parse", args, _is_text)
    form = _format("date_parse", args[1])
    parsed = _parsed(args[0].sql, form)
    # Of two digits 70 to 99 are of the last century; DuckDB takes 69 for one of them.
    return Typed(f"tr_pivoted({parsed})" if "%y" in form else parsed, TIMESTAMP)


def _parsed(sql: str, form: str) -> str:
    """A text read by a form, in 1970 where that has no year."""
    if not any(code in form for code in ("%Y", "%y", "%G")):
        return f"tr_parsed('1970 ' || {sql}, '%Y ' || {form})"
    return f"tr_parsed({sql}, {form})"


# ---- dates -------------------------------------------------------------------------------------------


def part(unit: str) -> Rule:
    """year(x), hour(x), ..; the compiler's own rule for parts, which EXTRACT shares."""
    return lambda args: moments.date_part(unit, cast_to(args[0], TIMESTAMP) if args[0].type == UNKNOWN else args[0])


def _to_iso8601(args: Sequence[Typed]) -> Typed:
    _need("to_iso8601", args, _is_date)
    if args[0].type.name in ("date", "unknown"):
        return Typed(f"CAST({args[0].sql} AS VARCHAR)", _varchar(16))
    kind = args[0].type
    digits = kind.args[0]
    text = f"tr_iso_text({moments.local_time(args[0])}, {19 + digits + (digits > 0)})"
    if kind.name == "timestamp":
        return Typed(text, _varchar(22 + digits + (digits > 0)))
    zone = "'Z'" if kind.zone == "UTC" else f"tr_offset_text({_offset(args[0])} // 60)"
    return Typed(f"({text} || {zone})", _varchar(28 + digits + (digits > 0)))


# ---- arrays ------------------------------------------------------------------------------------------


def _element(args: Sequence[Typed]) -> TrinoType:
    inner = args[0].type.args
    return inner[0] if inner else VARCHAR


def _array_first(args: Sequence[Typed]) -> TrinoType:
    return args[0].type if args[0].type.name == "array" else TrinoType("array", (UNKNOWN,))


def _array_of(args: Sequence[Typed]) -> TrinoType:
    return TrinoType("array", (args[0].type,))


def _is_map(t: TrinoType) -> bool:
    return t.name == "map"


def _cardinality(args: Sequence[Typed]) -> Typed:
    if args[0].type.name == "map":
        return Typed(f"CAST(cardinality({args[0].sql}) AS BIGINT)", BIGINT)
    return _plain("cardinality", "CAST(len({0}) AS BIGINT)", BIGINT, _is_array)(args)


def _with_element(name: str, kind: TrinoType | None) -> Rule:
    """A function of an array and one element, both in the type to which they coerce. kind: None for the array's."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_array)
        array, element = args
        if array.type.name == "unknown":
            whole = kind or TrinoType("array", (element.type,))
            return Typed(f"CAST(NULL AS {whole.duckdb()})", whole)
        inner = common([array.type.args[0], element.type])
        if inner is None:
            raise unfit(f"{name} cannot look for {element.type} in {array.type}.")
        whole = TrinoType("array", (inner,))
        if inner.name in ("double", "real"):  # a NaN is in no array
            array = (
                Typed(f"list_filter({array.sql}, lambda e: e IS NULL OR NOT isnan(e))", array.type)
                if name == "contains"
                else array
            )
        is_float = inner.name in ("double", "real") and name in ("remove", "position")
        call = f"tr_{name}_float" if is_float else f"tr_{name}"
        return Typed(f"{call}({cast_to(array, whole).sql}, {cast_to(element, inner).sql})", kind or whole)

    return rule


def _two_arrays(name: str, kind: TrinoType | None) -> Rule:
    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_array, _is_array)
        whole = common([a.type for a in args])
        if whole is None:
            raise unfit(f"{name} needs arrays of one type.")
        if whole.name == "unknown":
            whole = TrinoType("array", (UNKNOWN,))
        return Typed(f"tr_{name}({cast_to(args[0], whole).sql}, {cast_to(args[1], whole).sql})", kind or whole)

    return rule


def _array_extreme(name: str, call: str) -> Rule:
    """NULL as soon as an element is NULL; a NaN of doubles is refused, whose order differs."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_array)
        if args[0].type.name == "unknown":
            return args[0]
        kind = _element(args)
        if "map" in str(kind) or kind.name == "json":
            raise unfit(f"{name} cannot order {kind}.")
        if kind.name in ("double", "real"):
            fold = "tr_max" if name == "array_max" else "tr_min"
            folded = f"CASE WHEN len({args[0].sql}) > 0 THEN list_reduce({args[0].sql}, lambda a, b: {fold}(a, b)) END"
            return Typed(f"tr_extreme({args[0].sql}, {folded})", kind)
        return Typed(f"tr_extreme({args[0].sql}, {call}({args[0].sql}))", kind)

    return rule


def _array_join(args: Sequence[Typed]) -> Typed:
    """Elements as a cast to varchar writes them; NULLs are left out, or replaced by the third argument."""
    _need("array_join", args, _is_array, _is_text, _is_text)
    kind = _element(args)
    if kind.name in ("array", "map", "row"):
        raise UserError(f"array_join does not take {args[0].type}.", trino=TrinoError.OPERATOR_NOT_FOUND, rule="types")
    item = "NULL" if kind.name == "unknown" else texts.text_of(Typed("e", kind))
    if len(args) == 3:
        item = f"coalesce({item}, {args[2].sql})"
    listed = f"CAST(list_transform({args[0].sql}, lambda e: {item}) AS VARCHAR[])"
    return _joined(listed, args[1])


def _joined(texts: str, delimiter: Typed) -> Typed:
    call = "tr_joined" if delimiter.value is not None else "tr_joined_by"  # array_to_string wants a constant
    return Typed(f"{call}({texts}, {delimiter.sql})", VARCHAR)


def _flatten(args: Sequence[Typed]) -> Typed:
    if args[0].type.name != "unknown" and not (_is_array(args[0].type) and _element(args).name in ("array", "unknown")):
        raise unfit("flatten takes an array of arrays.")
    kind = _element(args) if args[0].type.args else TrinoType("array", (UNKNOWN,))
    return Typed(f"flatten({args[0].sql})", kind)


def _zip(args: Sequence[Typed]) -> Typed:
    _need("zip", args, *[_is_array] * len(args))
    kinds = [_element([a]) if a.type.args else UNKNOWN for a in args]
    fields = ", ".join(f"'field{i}': p[{i + 1}]" for i in range(len(args)))
    there = " AND ".join(f"{a.sql} IS NOT NULL" for a in args)
    zipped = (
        f"list_zip({', '.join(cast_to(a, TrinoType('array', (k,))).sql for a, k in zip(args, kinds, strict=True))})"
    )
    row = TrinoType("row", tuple(("", k) for k in kinds))
    sql = f"CASE WHEN {there} THEN list_transform({zipped}, lambda p: {{{fields}}}) END"
    return Typed(f"CAST({sql} AS {row.duckdb()}[])", TrinoType("array", (row,)))


def _array_histogram(args: Sequence[Typed]) -> Typed:
    _need("array_histogram", args, _is_array)
    kind = _element(args) if args[0].type.args else UNKNOWN
    return Typed(f"tr_counts({args[0].sql})", TrinoType("map", (kind, BIGINT)))


def _map_part(place: int) -> Callable[[Sequence[Typed]], TrinoType]:
    return lambda args: TrinoType("array", (args[0].type.args[place] if args[0].type.args else UNKNOWN,))


_NO_MAP = Typed("CAST(NULL AS MAP(INTEGER, INTEGER))", TrinoType("map", (UNKNOWN, UNKNOWN)))
"""A bare NULL, where a map is meant."""


def _map_concat(args: Sequence[Typed]) -> Typed:
    _need("map_concat", args, *[_is_map] * len(args))
    if len(args) < 2:
        raise UserError("map_concat takes two maps or more.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT, rule="types")
    kind = common([a.type for a in args])
    if kind is None:
        raise unfit("map_concat needs maps of one type.")
    if kind == UNKNOWN:
        return _NO_MAP
    parts = [cast_to(a, kind).sql for a in args]
    if "unknown" in str(kind):  # the same to Trino, of several types to DuckDB
        parts = [f"CAST({p} AS {kind.duckdb()})" for p in parts]
    nulls = " OR ".join(f"{p} IS NULL" for p in parts)
    return Typed(f"CASE WHEN {nulls} THEN NULL ELSE map_concat({', '.join(parts)}) END", kind)


def _map_entries(args: Sequence[Typed]) -> Typed:
    _need("map_entries", args, _is_map)
    kinds = args[0].type.args or (UNKNOWN, UNKNOWN)
    row = TrinoType("row", tuple(("", k) for k in kinds))
    made = f"list_transform(map_entries({args[0].sql}), lambda e: {{'field0': e['key'], 'field1': e['value']}})"
    return Typed(f"CAST({made} AS {row.duckdb()}[])", TrinoType("array", (row,)))


def _entry_kinds(name: str, args: Sequence[Typed]) -> tuple[str, TrinoType, TrinoType]:
    """DuckDB text of entries with fields field0 and field1, and their types."""
    kind = args[0].type
    if kind.name != "array" or kind.args[0].name != "row" or len(kind.args[0].args) != 2:
        raise unfit(f"{name} takes an array of rows of two.")
    (first, k), (second, v) = kind.args[0].args
    read = f"{{'field0': struct_extract(e, {sql_text(first or 'field0')}), 'field1': struct_extract(e, {sql_text(second or 'field1')})}}"
    return f"list_transform({args[0].sql}, lambda e: {read})", k, v


def _map_from_entries(args: Sequence[Typed]) -> Typed:
    if args[0].type.name == "unknown":
        return _NO_MAP
    entries, k, v = _entry_kinds("map_from_entries", args)
    keys, items = (f"list_transform({entries}, lambda e: e.field{i})" for i in (0, 1))
    return Typed(f"tr_map({keys}, {items})", TrinoType("map", (k, v)))


def _multimap_from_entries(args: Sequence[Typed]) -> Typed:
    if args[0].type.name == "unknown":
        return Typed(
            "CAST(NULL AS MAP(INTEGER, INTEGER[]))", TrinoType("map", (UNKNOWN, TrinoType("array", (UNKNOWN,))))
        )
    entries, k, v = _entry_kinds("multimap_from_entries", args)
    return Typed(f"tr_multimap({entries})", TrinoType("map", (k, TrinoType("array", (v,)))))


def _json_scalar(args: Sequence[Typed]) -> Typed:
    if args[0].type.name == "unknown":
        raise ambiguous()
    return _called("json_scalar", lambda a: text_like(a[:1]), _is_json)(args)


def _json_contains(args: Sequence[Typed]) -> Typed:
    _need("json_array_contains", args, _is_json)
    kind = args[1].type
    words = {
        "boolean": "boolean",
        "varchar": "text",
        "unknown": "text",
        "double": "float",
        "real": "float",
        "decimal": "float",
    }
    word = "whole" if kind.is_integer else words.get(kind.name)
    if word is None:
        raise unfit(f"json_array_contains does not look for {kind}.")
    return Typed(f"tr_json_array_contains({args[0].sql}, '{word}', CAST({args[1].sql} AS VARCHAR))", BOOLEAN)


# ---- aggregates --------------------------------------------------------------------------------------


def _agg(
    name: str,
    duck: str,
    result: TrinoType | Callable[[Sequence[Typed]], TrinoType],
    *tests: Callable[[TrinoType], bool],
    doubles: bool = False,
    cast: bool = False,
) -> AggregateRule:
    """duck: DuckDB's name. doubles: arguments become double. cast: the result is cast to its type."""

    def rule(args: Sequence[Typed], call: Call) -> Typed:
        _need(name, args, *tests)
        kind = result if isinstance(result, TrinoType) else result(args)
        sql = call(duck, *(cast_to(a, DOUBLE).sql if doubles else a.sql for a in args))
        return Typed(f"CAST({sql} AS {kind.duckdb()})" if cast else sql, kind)

    return rule


def _count(args: Sequence[Typed], call: Call) -> Typed:
    return Typed(call("count", args[0].sql), BIGINT)


def _sum(args: Sequence[Typed], call: Call) -> Typed:
    """Integers sum to bigint and overflow there; decimals to decimal(38, s)."""
    if args[0].type.name.startswith("interval"):
        return _avg_or_sum_of_intervals("sum", args, call)
    if args[0].type.name == "unknown":
        raise ambiguous()
    _need("sum", args, _is_number)
    kind = args[0].type
    if kind.is_integer or kind.name == "unknown":
        kind = BIGINT
    if kind.name == "decimal":
        kind = TrinoType("decimal", (38, kind.args[1]))
    return Typed(f"CAST({call('sum', args[0].sql)} AS {kind.duckdb()})", kind)


def _avg(args: Sequence[Typed], call: Call) -> Typed:
    """Decimals: sum / count, rounded half up at the column's scale, exactly; all else in double."""
    if args[0].type.name.startswith("interval"):
        return _avg_or_sum_of_intervals("avg", args, call)
    if args[0].type.name == "unknown":
        raise ambiguous()
    _need("avg", args, _is_number)
    kind = args[0].type
    if kind.name != "decimal":
        out = kind if kind.name == "real" else DOUBLE
        value = cast_to(args[0], DOUBLE).sql if kind.is_integer else args[0].sql  # Trino, too, adds doubles up
        return Typed(f"CAST({call('avg', value)} AS {out.duckdb()})", out)
    total, number = call("sum", args[0].sql), call("count", args[0].sql)
    scale = kind.args[1]
    quotient = decimal_quotient(total, number, ((38, scale), (19, 0)), TrinoType("decimal", (38, scale)), positive=True)
    return Typed(f"CASE WHEN {number} > 0 THEN CAST({quotient.sql} AS {kind.duckdb()}) END", kind)


def _count_if(args: Sequence[Typed], call: Call) -> Typed:
    """0 where all is NULL, of which DuckDB makes NULL."""
    _need("count_if", args, _is_boolean)
    return Typed(f"coalesce(CAST({call('count_if', args[0].sql)} AS BIGINT), 0)", BIGINT)


def _approx_distinct(args: Sequence[Typed], call: Call) -> Typed:
    """Exact instead of approximate, which Trino's contract allows."""
    return Typed(replace(call, distinct=True, order="")("count", args[0].sql), BIGINT)


_CASTS = re.compile(r"CAST\(| AS [A-Z]+(?:\([0-9]+, [0-9]+\))?(?:\[\])?\)")
_SHARE = re.compile("'[0-9.]+([eE][+-]?[0-9]+)?'|[0-9]+")
"""A literal number in DuckDB's text, without its casts."""


def _approx_percentile(args: Sequence[Typed], call: Call) -> Typed:
    """Exact instead of approximate, which Trino's contract allows. The percentage is a literal."""
    _need("approx_percentile", args, _is_number)
    kind = args[0].type
    kind = BIGINT if kind.is_integer else REAL if kind.name == "decimal" else kind
    value = cast_to(args[0], kind).sql
    shares = _CASTS.sub("", args[1].sql).strip("[]").split(", ")
    if not all(_SHARE.fullmatch(share) for share in shares):
        raise UserError("approx_percentile needs a literal percentage.", Outcome.NODE, rule="closed list")
    if any(not 0 <= float(share.strip("'")) <= 1 for share in shares):
        raise UserError("A percentage is from 0 to 1.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT)
    whole = TrinoType("array", (kind,)) if args[1].type.name == "array" else kind
    return Typed(call("quantile_disc", value, args[1].sql), whole)


def _listagg(args: Sequence[Typed], call: Call) -> Typed:
    if not call.order:
        raise UserError("listagg needs WITHIN GROUP (ORDER BY ..).", Outcome.SYNTAX, rule="function list")
    if args[0].type.name not in ("varchar", "unknown"):
        raise mismatch(f"listagg does not take {args[0].type}.")
    separator = args[1].sql if len(args) == 2 else "''"
    return Typed(call("string_agg", args[0].sql, separator), VARCHAR)


def _not_literal(name: str, what: str, arg: Typed) -> None:
    if isinstance(arg.value, int):
        raise UserError(f"The {what} of {name} is out of range.", trino=TrinoError.INVALID_FUNCTION_ARGUMENT)
    raise UserError(f"{name} needs a literal {what}.", Outcome.NODE, rule="closed list")


def _nth_value(args: Sequence[Typed], call: Call) -> Typed:
    _need("nth_value", args, _any, _is_integer)
    if not (isinstance(args[1].value, int) and args[1].value > 0):
        _not_literal("nth_value", "place", args[1])
    return Typed(call("nth_value", args[0].sql, args[1].sql), args[0].type)


def _shift(name: str) -> AggregateRule:
    """lag, lead: value[, offset[, default]]; the default takes the value's type."""

    def rule(args: Sequence[Typed], call: Call) -> Typed:
        _need(name, args, _any, _is_integer)
        if len(args) > 1 and not (isinstance(args[1].value, int) and args[1].value >= 0):
            _not_literal(name, "offset", args[1])
        kind = args[0].type if len(args) < 3 else common([args[0].type, args[2].type])
        if kind is None:
            raise unfit(f"{name} needs a default of the value's type.")
        sqls = [cast_to(args[0], kind).sql, *(a.sql for a in args[1:2])]
        sqls += [cast_to(a, kind).sql for a in args[2:]]
        return Typed(call(name, *sqls), kind)

    return rule


# ---- the tables --------------------------------------------------------------------------------------


def _f(
    names: str,
    node: type[exp.Expr] | None,
    keys: str,
    low: int,
    high: int,
    rule: Rule,
    flags: str = "",
) -> Function:
    return Function(tuple(names.split()), node, tuple(keys.split()), low, high, rule, flags=frozenset(flags.split()))


def _a(
    names: str,
    node: type[exp.Expr] | None,
    keys: str,
    count: int,
    rule: AggregateRule,
    kind: Kind = "aggregate",
    low: int | None = None,
    flags: str = "",
) -> Function:
    return Function(
        tuple(names.split()), node, tuple(keys.split()), count if low is None else low, count,
        aggregate=rule, kind=kind, flags=frozenset(flags.split()),
    )  # fmt: skip


_SCALARS: tuple[Function, ...] = (
    # text
    _f("lower", exp.Lower, "this", 1, 1, _cased("lower")),
    _f("upper", exp.Upper, "this", 1, 1, _cased("upper")),
    _f("length", exp.Length, "this", 1, 1,
       _length),
    _f("reverse", exp.Reverse, "this", 1, 1, _reverse),
    _f("replace", exp.Replace, "this expression replacement", 2, 3,
       lambda a: _plain("replace", "tr_replace({0}, {1}, {2})", replaced, _is_text, _is_text, _is_text)(
           [*a, Typed("''", _varchar(0))][:3])),
    _f("strpos position", exp.StrPosition, "this substr occurrence", 2, 3, _strpos),
    _f("translate", exp.Translate, "this from_ to", 3, 3,
       _plain("translate", "tr_translated({0}, {1}, {2})", VARCHAR, _is_text, _is_text, _is_text)),
    _f("substr substring", exp.Substring, "this start length", 2, 3, _substr),
    _f("split_part", exp.SplitPart, "this delimiter part_index", 3, 3,
       _plain("split_part", "tr_split_part({0}, {1}, {2})", text_like, _is_text, _is_text, _is_integer)),
    _f("split", exp.Split, "this expression limit", 2, 3, _split),
    _f("starts_with", exp.StartsWith, "this expression", 2, 2,
       _plain("starts_with", "starts_with({0}, {1})", BOOLEAN, _is_text, _is_text)),
    _f("concat", exp.Concat, "expressions", 1, 64, concat, "safe coalesce"),
    _f("concat_ws", exp.ConcatWs, "expressions", 2, 64,
       _concat_ws, "safe coalesce"),
    _f("chr", exp.Chr, "expressions", 1, 1,
       _plain("chr", "tr_chr({0})", _varchar(1), _is_integer), "charset"),
    _f("codepoint", None, "", 1, 1, _codepoint),
    _f("to_hex", exp.Hex, "this", 1, 1, _plain("to_hex", "tr_hex(CAST({0} AS BLOB))", VARCHAR, _is_binary)),
    _f("from_hex", exp.Unhex, "this", 1, 1, _decoded("from_hex")),
    _f("to_utf8", exp.Encode, "this", 1, 1, _to_utf8, "charset"),
    _f("from_utf8", exp.Decode, "this replace", 1, 2,
       _from_utf8, "charset"),
    _f("md5", None, "", 1, 1, _plain("md5", "unhex(md5({0}))", VARBINARY, _is_binary)),
    _f("sha256", None, "", 1, 1, _called("sha256", VARBINARY, _is_binary)),
    _f("normalize", exp.Normalize, "this form", 1, 2, _normalize),
    _f("regexp_like", exp.RegexpLike, "this expression", 2, 2,
       _of_null(BOOLEAN, _regexp("regexp_like", "regexp_matches({0}, {1})", BOOLEAN))),
    _f("regexp_extract", exp.RegexpExtract, "this expression group", 2, 3,
       _of_null(text_like, _regexp_extract("regexp_extract", all_=False)),
       "null_if_pos_overflow"),
    _f("regexp_replace", exp.RegexpReplace, "this expression replacement", 2, 3, _of_null(_regexp_replaced, _regexp_replace)),
    _f("regexp_count", exp.RegexpCount, "this expression", 2, 2,
       _of_null(BIGINT, _regexp("regexp_count", "CAST(len(regexp_extract_all({0}, {1})) AS BIGINT)", BIGINT))),
    _f("regexp_extract_all", exp.RegexpExtractAll, "this expression group", 2, 3,
       _of_null(texts_like, _regexp_extract("regexp_extract_all", all_=True))),
    _f("regexp_split", exp.RegexpSplit, "this expression", 2, 2,
       _of_null(texts_like, _regexp_split)),
    # computed by Python, see catalog.duck.scalars
    _f("hamming_distance", None, "", 2, 2, _called("hamming", BIGINT, _is_text, _is_text)),
    _f("levenshtein_distance", exp.Levenshtein, "this expression", 2, 2, _called("levenshtein", BIGINT, _is_text, _is_text)),
    _f("soundex", exp.Soundex, "this", 1, 1, _called("soundex", _varchar(4), _is_text)),
    _f("word_stem", None, "", 1, 2, _word_stem),
    _f("color", None, "", 1, 5, _color),
    _f("rgb", None, "", 3, 3, _called("rgb", COLOR, _is_integer, _is_integer, _is_integer)),
    _f("render", None, "", 1, 2, _render),
    _f("bar", None, "", 2, 4, _bar),
    _f("great_circle_distance", None, "", 4, 4, _doubles("great_circle_distance", "tr_great_circle({0}, {1}, {2}, {3})")),
    _f("luhn_check", None, "", 1, 1, _called("luhn", BOOLEAN, _is_text)),
    _f("format_number", None, "", 1, 1, _doubles_to("format_number", VARCHAR)),
    _f("human_readable_seconds", None, "", 1, 1, _doubles_to("readable_seconds", VARCHAR)),
    _f("parse_data_size parse_presto_data_size", None, "", 1, 1, _called("data_size", TrinoType("decimal", (38, 0)), _is_text)),
    _f("split_to_map", exp.StrToMap, "this pair_delim key_value_delim", 3, 3,
       _called("split_to_map", TrinoType("map", (VARCHAR, VARCHAR)), _is_text, _is_text, _is_text)),
    _f("split_to_multimap", None, "", 3, 3,
       _called("split_to_multimap", TrinoType("map", (VARCHAR, TrinoType("array", (VARCHAR,)))), _is_text, _is_text,
               _is_text)),
    _f("regexp_position", None, "", 2, 4, _of_null(INTEGER, _regexp_position)),
    _f("url_encode", None, "", 1, 1, _called("url_encode", lambda a: _varchar(min(UNBOUNDED, 12 * text_like(a).args[0])), _is_text)),
    _f("url_decode", None, "", 1, 1, _called("url_decode", text_like, _is_text)),
    *(_f(f"url_extract_{p}", None, "", 1, 1, _url(p)) for p in ("protocol", "host", "port", "path", "query", "fragment")),
    _f("url_extract_parameter", None, "", 2, 2, _called("url_parameter", text_like, _is_text, _is_text)),
    _f("sinh", exp.Sinh, "this", 1, 1, _doubles("sinh", "tr_sinh({0})")),
    _f("cosh", exp.Cosh, "this", 1, 1, _doubles("cosh", "tr_cosh({0})")),
    _f("tanh", exp.Tanh, "this", 1, 1, _doubles("tanh", "tr_tanh({0})")),
    _f("width_bucket", exp.WidthBucket, "this min_value max_value num_buckets", 2, 4, _width_bucket),
    _f("from_base", exp.FromBase, "this expression", 2, 2, _called("from_base", BIGINT, _is_text, _is_integer)),
    _f("to_base", None, "", 2, 2, _called("to_base", _varchar(64), _is_integer, _is_integer)),
    _f("bit_count", None, "", 2, 2, _called("bit_count", BIGINT, _is_integer, _is_integer)),
    *(_f(n, None, "", 2, 2, _shifted_bits(n))
      for n in ("bitwise_left_shift", "bitwise_right_shift", "bitwise_right_shift_arithmetic")),
    _f("cosine_similarity", None, "", 2, 2, _vectors("cosine")),
    _f("cosine_distance", exp.CosineDistance, "this expression", 2, 2, _vectors("cosine_distance")),
    _f("euclidean_distance", exp.EuclideanDistance, "this expression", 2, 2, _vectors("euclid")),
    _f("dot_product", exp.DotProduct, "this expression", 2, 2, _vectors("dot")),
    _f("wilson_interval_lower", None, "", 3, 3, _called("wilson_lower", DOUBLE, _is_integer, _is_integer, _is_number)),
    _f("wilson_interval_upper", None, "", 3, 3, _called("wilson_upper", DOUBLE, _is_integer, _is_integer, _is_number)),
    _f("to_base64", exp.ToBase64, "this", 1, 1, _called("to_base64", VARCHAR, _is_binary)),
    _f("from_base64", exp.FromBase64, "this", 1, 1, _decoded("from_base64")),
    _f("to_base32", exp.ToBase32, "this", 1, 1, _called("to_base32", VARCHAR, _is_binary)),
    _f("from_base32", exp.FromBase32, "this", 1, 1, _decoded("from_base32")),
    _f("to_base64url", None, "", 1, 1, _called("to_base64url", VARCHAR, _is_binary)),
    _f("from_base64url", None, "", 1, 1, _decoded("from_base64url")),
    _f("sha1", None, "", 1, 1, _called("sha1", VARBINARY, _is_binary)),
    _f("sha512", None, "", 1, 1, _called("sha512", VARBINARY, _is_binary)),
    *(_f(n, None, "", 2, 2, _called(n, VARBINARY, _is_binary, _is_binary))
      for n in ("hmac_md5", "hmac_sha1", "hmac_sha256", "hmac_sha512")),
    _f("crc32", None, "", 1, 1, _called("crc32", BIGINT, _is_binary)),
    _f("spooky_hash_v2_32", None, "", 1, 1, _called("spooky_32", VARBINARY, _is_binary)),
    _f("spooky_hash_v2_64", None, "", 1, 1, _called("spooky_64", VARBINARY, _is_binary)),
    _f("xxhash64", None, "", 1, 1, _called("xxhash64", VARBINARY, _is_binary)),
    _f("murmur3", None, "", 1, 1, _called("murmur3", VARBINARY, _is_binary)),
    _f("to_big_endian_32", None, "", 1, 1, _called("to_big_endian_32", VARBINARY, _is_narrow)),
    _f("to_big_endian_64", None, "", 1, 1, _called("to_big_endian_64", VARBINARY, _is_integer)),
    _f("from_big_endian_32", None, "", 1, 1, _called("from_big_endian_32", INTEGER, _is_binary)),
    _f("from_big_endian_64", None, "", 1, 1, _called("from_big_endian_64", BIGINT, _is_binary)),
    _f("to_ieee754_32", None, "", 1, 1,
       _called("to_ieee754_32", VARBINARY, lambda t: t.is_numeric and t.name != "double")),
    _f("to_ieee754_64", None, "", 1, 1, _called("to_ieee754_64", VARBINARY, _is_number)),
    _f("from_ieee754_32", None, "", 1, 1, _called("from_ieee754_32", REAL, _is_binary)),
    _f("from_ieee754_64", None, "", 1, 1, _called("from_ieee754_64", DOUBLE, _is_binary)),
    # conditions
    _f("try", exp.Try, "this", 1, 1, attempt),
    _f("coalesce", exp.Coalesce, "this expressions", 2, 64, coalesce),
    _f("nullif", exp.Nullif, "this expression", 2, 2, _nullif),
    _f("greatest", exp.Greatest, "this expressions", 1, 64, _extreme("greatest"), "ignore_nulls"),
    _f("least", exp.Least, "this expressions", 1, 64, _extreme("least"), "ignore_nulls"),
    # numbers
    _f("abs", exp.Abs, "this", 1, 1, _plain("abs", "abs({0})", lambda a: _known_type(a[0].type), _is_number)),
    _f("ceil ceiling", exp.Ceil, "this", 1, 1, _whole("ceil", "ceil")),
    _f("floor", exp.Floor, "this", 1, 1, _whole("floor", "floor")),
    _f("round", exp.Round, "this decimals", 1, 2, _round),
    _f("truncate", exp.Trunc, "this decimals", 1, 2, _truncate),
    _f("power pow", exp.Pow, "this expression", 2, 2, _doubles("power", "tr_power({0}, {1})")),
    _f("sqrt", exp.Sqrt, "this", 1, 1, _doubles("sqrt", "sqrt({0})")),
    _f("cbrt", exp.Cbrt, "this", 1, 1, _doubles("cbrt", "tr_cbrt({0})")),
    _f("exp", exp.Exp, "this", 1, 1, _doubles("exp", "exp({0})")),
    _f("ln", exp.Ln, "this", 1, 1, _doubles("ln", "ln({0})")),
    _f("log", exp.Log, "this expression", 2, 2, _doubles("log", "(ln({1}) / ln({0}))")),
    _f("log2", None, "", 1, 1, _doubles("log2", "(ln({0}) / ln(2.0::DOUBLE))")),
    _f("log10", None, "", 1, 1, _doubles("log10", "tr_log10({0})")),
    _f("sign", exp.Sign, "this", 1, 1, _sign),
    _f("pi", exp.Pi, "", 0, 0, lambda a: Typed("pi()", DOUBLE)),
    _f("e", None, "", 0, 0, lambda a: Typed("exp(1.0::DOUBLE)", DOUBLE)),
    _f("nan", None, "", 0, 0, lambda a: Typed("CAST('NaN' AS DOUBLE)", DOUBLE)),
    _f("infinity", None, "", 0, 0, lambda a: Typed("CAST('Infinity' AS DOUBLE)", DOUBLE)),
    _f("is_nan", exp.IsNan, "this", 1, 1, lambda a: Typed(f"isnan({cast_to(a[0], DOUBLE).sql})", BOOLEAN)),
    _f("is_finite", None, "", 1, 1, lambda a: Typed(f"isfinite({cast_to(a[0], DOUBLE).sql})", BOOLEAN)),
    _f("is_infinite", None, "", 1, 1, lambda a: Typed(f"isinf({cast_to(a[0], DOUBLE).sql})", BOOLEAN)),
    _f("sin", exp.Sin, "this", 1, 1, _doubles("sin", "sin({0})")),
    _f("cos", exp.Cos, "this", 1, 1, _doubles("cos", "cos({0})")),
    _f("tan", exp.Tan, "this", 1, 1, _doubles("tan", "tan({0})")),
    _f("asin", exp.Asin, "this", 1, 1, _doubles("asin", "tr_asin({0})")),
    _f("acos", exp.Acos, "this", 1, 1, _doubles("acos", "tr_acos({0})")),
    _f("atan", exp.Atan, "this", 1, 1, _doubles("atan", "tr_atan({0})")),
    _f("atan2", exp.Atan2, "this expression", 2, 2, _doubles("atan2", "tr_atan2({0}, {1})")),
    _f("degrees", exp.Degrees, "this", 1, 1, _doubles("degrees", "degrees({0})")),
    _f("radians", exp.Radians, "this", 1, 1, _doubles("radians", "radians({0})")),
    # dates
    _f("year", exp.Year, "this", 1, 1, part("year")),
    _f("quarter", exp.Quarter, "this", 1, 1, part("quarter")),
    _f("month", exp.Month, "this", 1, 1, part("month")),
    _f("week week_of_year", exp.WeekOfYear, "this", 1, 1, part("week")),
    _f("day", exp.Day, "this", 1, 1, part("day")),
    _f("day_of_month", exp.DayOfMonth, "this", 1, 1, part("day_of_month")),
    _f("day_of_week dow", exp.DayOfWeekIso, "this", 1, 1, part("day_of_week")),
    _f("day_of_year doy", exp.DayOfYear, "this", 1, 1, part("day_of_year")),
    _f("year_of_week", exp.YearOfWeek, "this", 1, 1, part("year_of_week")),
    _f("yow", None, "", 1, 1, part("yow")),
    _f("hour", exp.Hour, "this", 1, 1, part("hour")),
    _f("minute", exp.Minute, "this", 1, 1, part("minute")),
    _f("second", exp.Second, "this", 1, 1, part("second")),
    _f("millisecond", None, "", 1, 1, part("millisecond")),
    _f("from_unixtime", exp.UnixToTime, "this zone hours minutes", 1, 3, _from_unixtime),
    _f("to_unixtime", exp.TimeToUnix, "this", 1, 1, _to_unixtime),
    _f("format_datetime", None, "", 2, 2, _of_null(VARCHAR, _format_datetime)),
    _f("parse_datetime", exp.ParseDatetime, "this format", 2, 2, _of_null(STAMP_TZ, _parse_datetime)),
    _f("at_timezone", None, "", 2, 2, _at_timezone),
    _f("with_timezone", None, "", 2, 2, _with_timezone),
    _f("timezone_hour", None, "", 1, 1, _zone_part("timezone_hour")),
    _f("timezone_minute", None, "", 1, 1, _zone_part("timezone_minute")),
    _f("timezone", None, "", 1, 1, _timezone),
    _f("to_milliseconds", None, "", 1, 1, _to_milliseconds),
    _f("parse_duration", None, "", 1, 1, _duration),
    _f("from_iso8601_timestamp", exp.FromISO8601Timestamp, "this", 1, 1,
       _from_iso8601_timestamp),
    _f("date_format", exp.TimeToStr, "this format", 2, 2, _of_null(VARCHAR, _date_format)),
    _f("date_parse", exp.StrToTime, "this format", 2, 2, _of_null(TIMESTAMP, _date_parse)),
    _f("last_day_of_month", exp.LastDay, "this", 1, 1,
       _last_day),
    _f("from_iso8601_date", exp.FromISO8601Date, "this", 1, 1,
       _called("from_iso8601_date", DATE, _is_text, call="tr_iso_date")),
    _f("to_iso8601", None, "", 1, 1, _to_iso8601),
    # json
    _f("json_extract_scalar", exp.JSONExtractScalar, "this expression", 2, 2,
       _json_scalar, "scalar_only"),
    _f("json_extract", exp.JSONExtract, "this expression", 2, 2, _called("json_extract", JSON, _is_json)),
    _f("json_parse", exp.ParseJSON, "this", 1, 1, _called("json_parse", JSON, _is_text), "is_literal"),
    _f("json_format", exp.JSONFormat, "this", 1, 1, _plain("json_format", "{0}", VARCHAR, lambda t: t.name == "json"), "is_json"),
    _f("json_array_length", None, "", 1, 1, _called("json_array_length", BIGINT, _is_json)),
    _f("json_array_contains", exp.JSONArrayContains, "this expression", 2, 2, _json_contains),
    _f("json_array_get", None, "", 2, 2, _called("json_array_get", JSON, _is_json, _is_integer)),
    _f("json_size", None, "", 2, 2, _called("json_size", BIGINT, _is_json, _is_text)),
    _f("is_json_scalar", None, "", 1, 1, _called("json_is_scalar", BOOLEAN, _is_json)),
    # arrays
    _f("cardinality", exp.ArraySize, "this", 1, 1, _cardinality),
    _f("contains", exp.ArrayContains, "this expression", 2, 2, _with_element("contains", BOOLEAN), "ensure_variant check_null"),
    _f("array_join", exp.ArrayToString, "this expression null", 2, 3, _array_join),
    _f("array_distinct", exp.ArrayDistinct, "this", 1, 1, _called("array_distinct", _array_first, _is_array, call="tr_distinct"),
       "check_null"),
    _f("array_max", exp.ArrayMax, "this", 1, 1, _array_extreme("array_max", "list_max")),
    _f("array_min", exp.ArrayMin, "this", 1, 1, _array_extreme("array_min", "list_min")),
    _f("array_position", exp.ArrayPosition, "this expression", 2, 2, _with_element("position", BIGINT), "zero_based"),
    _f("array_remove", exp.ArrayRemove, "this expression", 2, 2, _with_element("remove", None), "null_propagation"),
    _f("array_union", None, "", 2, 2, _two_arrays("union", None)),
    _f("array_intersect", exp.ArrayIntersect, "expressions", 2, 2, _two_arrays("intersect", None)),
    _f("array_except", exp.ArrayExcept, "this expression", 2, 2, _two_arrays("except", None)),
    _f("arrays_overlap", None, "", 2, 2, _two_arrays("overlap", BOOLEAN)),
    _f("contains_sequence", None, "", 2, 2, _two_arrays("contains_sequence", BOOLEAN)),
    _f("slice", exp.ArraySlice, "this start end", 3, 3, _called("slice", _array_first, _is_array, _is_integer, _is_integer)),
    _f("trim_array", None, "", 2, 2, _called("trim_array", _array_first, _is_array, _is_integer)),
    _f("repeat", exp.Repeat, "this times", 2, 2, _called("repeat", _array_of, _any, _is_integer)),
    _f("flatten", exp.Flatten, "this", 1, 1, _flatten),
    _f("zip", None, "", 2, 5, _zip),
    _f("combinations", None, "", 2, 2, _combinations),
    _f("ngrams", None, "", 2, 2, _called("ngrams", lambda a: TrinoType("array", (_array_first(a),)), _is_array, _is_narrow)),
    _f("array_histogram", None, "", 1, 1, _array_histogram),
    # maps
    _f("map_keys", exp.MapKeys, "this", 1, 1, _plain("map_keys", "map_keys({0})", _map_part(0), _is_map)),
    _f("map_values", None, "", 1, 1, _plain("map_values", "map_values({0})", _map_part(1), _is_map)),
    _f("map_concat", None, "", 1, 8, _map_concat),
    _f("map_entries", None, "", 1, 1, _map_entries),
    _f("map_from_entries", exp.MapFromEntries, "this", 1, 1, _map_from_entries),
    _f("multimap_from_entries", None, "", 1, 1, _multimap_from_entries),
)  # fmt: skip


def _extreme_of(name: str) -> AggregateRule:
    """min, max; a NaN loses against any number, and of n values a list comes."""

    def rule(args: Sequence[Typed], call: Call) -> Typed:
        kind = args[0].type
        if "map" in str(kind) or kind.name == "json":
            raise unfit(f"{name} cannot order {kind}.")
        if kind.name in ("row", "array"):
            raise UserError(f"{name} of {kind} is not available.", Outcome.NODE, rule="closed list")
        if len(args) == 2:
            _need(name, args, _any, _is_integer)
            return Typed(_extremes_of(name, args, call), TrinoType("array", (kind,)))
        if kind.name in ("double", "real"):
            numbers = call(name, f"CASE WHEN NOT isnan({args[0].sql}) THEN {args[0].sql} END")
            return Typed(f"coalesce({numbers}, {call(name, args[0].sql)})", kind)
        return Typed(call(name, args[0].sql), kind)

    return rule


def _extremes_of(name: str, args: Sequence[Typed], call: Call) -> str:
    value, number = args[0].sql, args[1].sql
    if name == "min" or args[0].type.name not in ("double", "real"):
        return call(name, value, number)
    return call("arg_max", value, _after_nan(value), number)


def _after_nan(value: str) -> str:
    """A key of the order in which a NaN comes before any number."""
    return f"CASE WHEN {value} IS NOT NULL THEN {{'o': NOT isnan({value}), 'k': {value}}} END"


def _by(name: str, call_name: str) -> AggregateRule:
    def rule(args: Sequence[Typed], call: Call) -> Typed:
        if "map" in str(args[1].type) or args[1].type.name == "json":
            raise unfit(f"{name} cannot order {args[1].type}.")
        key = args[1].sql
        if args[1].type.name in ("double", "real") and name == "max_by":  # a NaN loses against any number
            key = _after_nan(key)
        if len(args) == 3:
            _need(name, args, _any, _any, _is_integer)
            # In a struct, so that a NULL among the values is one of them.
            chosen = call(call_name.removesuffix("_null"), f"{{'v': {args[0].sql}}}", key, args[2].sql)
            return Typed(f"list_transform({chosen}, lambda e: e.v)", TrinoType("array", (args[0].type,)))
        return Typed(call(call_name, args[0].sql, key), args[0].type)

    return rule


def _map_agg(args: Sequence[Typed], call: Call) -> Typed:
    """The first value of a key counts; a NULL key is left out."""
    if call.order or call.distinct:
        raise UserError("map_agg takes no DISTINCT or ORDER BY.", Outcome.NODE, rule="closed list")
    pairs = call.filtered(f"{args[0].sql} IS NOT NULL")("list", f"{{'field0': {args[0].sql}, 'field1': {args[1].sql}}}")
    return Typed(f"tr_first_of({pairs})", TrinoType("map", (args[0].type, args[1].type)))


def _multimap_agg(args: Sequence[Typed], call: Call) -> Typed:
    pairs = call.filtered(f"{args[0].sql} IS NOT NULL")("list", f"{{'field0': {args[0].sql}, 'field1': {args[1].sql}}}")
    return Typed(f"tr_multimap({pairs})", TrinoType("map", (args[0].type, TrinoType("array", (args[1].type,)))))


def _map_union(args: Sequence[Typed], call: Call) -> Typed:
    """NULL where all the maps are empty, too."""
    _need("map_union", args, _is_map)
    if args[0].type.name == "unknown":
        return _NO_MAP
    maps = call.filtered(f"{args[0].sql} IS NOT NULL")("list", args[0].sql)
    entries = f"flatten(list_transform({maps}, lambda m: map_entries(m)))"
    pairs = f"list_transform({entries}, lambda e: {{'field0': e['key'], 'field1': e['value']}})"
    return Typed(f"tr_first_of(list_transform([{pairs}], lambda p: CASE WHEN len(p) > 0 THEN p END)[1])", args[0].type)


def _geometric_mean(args: Sequence[Typed], call: Call) -> Typed:
    """In double; of reals and decimals a real."""
    _need("geometric_mean", args, _is_number)
    kind = REAL if args[0].type.name in ("real", "decimal") else DOUBLE
    return Typed(f"CAST({call('geomean', cast_to(args[0], DOUBLE).sql)} AS {kind.duckdb()})", kind)


def _histogram(args: Sequence[Typed], call: Call) -> Typed:
    kind = TrinoType("map", (args[0].type, BIGINT))
    return Typed(f"CAST({call('histogram', args[0].sql)} AS {kind.duckdb()})", kind)


def _bits(name: str, duck: str) -> AggregateRule:
    def rule(args: Sequence[Typed], call: Call) -> Typed:
        _need(name, args, _is_integer)
        return Typed(call(duck, cast_to(args[0], BIGINT).sql), BIGINT)

    return rule


_SUMMED = 0x9E3779B185EBCA87 - (1 << 64)
"""What a NULL adds to a checksum."""


def _checksum(args: Sequence[Typed], call: Call) -> Typed:
    """The sum of a hash of each value: of numbers, moments, texts and bytes."""
    kind, sql = args[0].type, args[0].sql
    if kind.is_integer or kind.name in ("unknown", "interval day to second", "interval year to month"):
        one = f"tr_checksum_number({sql})"
    elif kind.name in ("double", "real"):
        one = f"tr_checksum_{kind.name}({sql})"
    elif kind.name == "decimal":
        units = unscaled(sql, (kind.args[0], kind.args[1]))
        one = f"tr_checksum_wide({units})" if kind.args[0] > 18 else f"tr_checksum_number(CAST({units} AS BIGINT))"
    elif kind.name == "boolean":
        one = f"tr_checksum_number(CAST({sql} AS BIGINT))"
    elif kind.name == "date":
        one = f"tr_checksum_number(CAST({sql} - DATE '1970-01-01' AS BIGINT))"
    elif kind.name == "timestamp":
        one = f"tr_checksum_number(epoch_us({sql}))"
    elif kind.name in ("varchar", "char"):
        one = f"tr_checksum_bytes(encode({sql}))"
    elif kind.name == "varbinary":
        one = f"tr_checksum_bytes({sql})"
    else:
        raise UserError(f"checksum of {kind} is not available.", Outcome.NODE, rule="closed list")
    total = call("sum", f"coalesce({one}, {_SUMMED})")
    return Typed(f"tr_checksum(CAST({total} AS DECIMAL(38, 0)))", VARBINARY)


def _moments_of(name: str, power: int) -> AggregateRule:
    """skewness and kurtosis, with Trino's own corrections."""

    def rule(args: Sequence[Typed], call: Call) -> Typed:
        _need(name, args, _is_number)
        x = cast_to(args[0], DOUBLE).sql
        n, mean, m2 = call("count", x), call("avg", x), call("var_pop", x)
        listed = call.filtered(f"{x} IS NOT NULL")("list", x)
        return Typed(f"tr_{name}({n}, {mean}, {m2}, {listed})", DOUBLE)

    return rule


def _avg_or_sum_of_intervals(name: str, args: Sequence[Typed], call: Call) -> Typed:
    kind = args[0].type
    return Typed(f"CAST(round({call(name, args[0].sql)}) AS {kind.duckdb()})", kind)


def _floats(name: str, duck: str) -> AggregateRule:
    """corr, covar, regr: real for reals, double otherwise."""

    def rule(args: Sequence[Typed], call: Call) -> Typed:
        _need(name, args, _is_number, _is_number)
        kind = DOUBLE if any(a.type.name == "double" for a in args) else REAL
        sqls = [cast_to(cast_to(a, kind), DOUBLE).sql for a in args]
        result = call(duck, *sqls)
        if duck in ("corr", "regr_slope", "regr_intercept"):
            result = f"tr_no_nan({result}, {call('count', sqls[0] + ' + ' + sqls[1])})"
        return Typed(f"CAST({result} AS {kind.duckdb()})", kind)

    return rule


_AGGREGATES: tuple[Function, ...] = (
    _a("count", exp.Count, "this", 1, _count, flags="big_int"),
    _a("sum", exp.Sum, "this", 1, _sum),
    _a("avg", exp.Avg, "this", 1, _avg),
    _a("min", exp.Min, "this expressions", 2, _extreme_of("min"), low=1),
    _a("max", exp.Max, "this expressions", 2, _extreme_of("max"), low=1),
    _a("count_if", exp.CountIf, "this", 1,
       _count_if),
    _a("bool_and", exp.LogicalAnd, "this", 1, _agg("bool_and", "bool_and", BOOLEAN, _is_boolean)),
    _a("every", None, "", 1, _agg("every", "bool_and", BOOLEAN, _is_boolean)),
    _a("bool_or", exp.LogicalOr, "this", 1, _agg("bool_or", "bool_or", BOOLEAN, _is_boolean)),
    _a("stddev", exp.Stddev, "this", 1, _agg("stddev", "stddev_samp", DOUBLE, _is_number, doubles=True)),
    _a("stddev_samp", exp.StddevSamp, "this", 1,
       _agg("stddev_samp", "stddev_samp", DOUBLE, _is_number, doubles=True)),
    _a("stddev_pop", exp.StddevPop, "this", 1,
       _agg("stddev_pop", "stddev_pop", DOUBLE, _is_number, doubles=True)),
    _a("variance var_samp", exp.Variance, "this", 1,
       _agg("variance", "var_samp", DOUBLE, _is_number, doubles=True)),
    _a("var_pop", exp.VariancePop, "this", 1,
       _agg("var_pop", "var_pop", DOUBLE, _is_number, doubles=True)),
    _a("corr", exp.Corr, "this expression", 2,
       _floats("corr", "corr"), flags="null_on_zero_variance"),
    _a("covar_pop", exp.CovarPop, "this expression", 2,
       _floats("covar_pop", "covar_pop")),
    _a("covar_samp", exp.CovarSamp, "this expression", 2,
       _floats("covar_samp", "covar_samp")),
    _a("regr_slope", exp.RegrSlope, "this expression", 2,
       _floats("regr_slope", "regr_slope")),
    _a("regr_intercept", exp.RegrIntercept, "this expression", 2,
       _floats("regr_intercept", "regr_intercept")),
    _a("geometric_mean", None, "", 1, _geometric_mean),
    _a("approx_distinct", exp.ApproxDistinct, "this accuracy", 2, _approx_distinct, low=1),
    _a("approx_percentile", exp.ApproxQuantile, "this quantile", 2, _approx_percentile),
    _a("arbitrary any_value", exp.AnyValue, "this", 1, _agg("arbitrary", "any_value", _first)),
    _a("max_by", exp.ArgMax, "this expression count", 3, _by("max_by", "arg_max_null"), low=2),
    _a("min_by", exp.ArgMin, "this expression count", 3, _by("min_by", "arg_min_null"), low=2),
    _a("map_agg", None, "", 2, _map_agg),
    _a("multimap_agg", None, "", 2, _multimap_agg),
    _a("map_union", None, "", 1, _map_union),
    _a("histogram", None, "", 1, _histogram),
    _a("checksum", None, "", 1, _checksum),
    _a("bitwise_and_agg", exp.BitwiseAndAgg, "this", 1, _bits("bitwise_and_agg", "bit_and")),
    _a("bitwise_or_agg", exp.BitwiseOrAgg, "this", 1, _bits("bitwise_or_agg", "bit_or")),
    _a("bitwise_xor_agg", exp.BitwiseXorAgg, "this", 1, _bits("bitwise_xor_agg", "bit_xor")),
    _a("skewness", exp.Skewness, "this", 1, _moments_of("skewness", 3)),
    _a("kurtosis", exp.Kurtosis, "this", 1, _moments_of("kurtosis", 4)),
    _a("array_agg", exp.ArrayAgg, "this", 1, _agg("array_agg", "array_agg", _array_of),
       flags="nulls_excluded"),
    Function(("reduce_agg",), None, (), 4, 4, kind="aggregate", fold=reduce_agg),
    _a("listagg", exp.GroupConcat, "this separator", 2, _listagg, low=1, flags="on_overflow"),
)  # fmt: skip

_WINDOWS: tuple[Function, ...] = (
    _a("row_number", exp.RowNumber, "", 0, _agg("row_number", "row_number", BIGINT), "window"),
    _a("rank", exp.Rank, "", 0, _agg("rank", "rank", BIGINT), "window"),
    _a("dense_rank", exp.DenseRank, "", 0, _agg("dense_rank", "dense_rank", BIGINT), "window"),
    _a("percent_rank", exp.PercentRank, "", 0, _agg("percent_rank", "percent_rank", DOUBLE), "window"),
    _a("cume_dist", exp.CumeDist, "", 0, _agg("cume_dist", "cume_dist", DOUBLE), "window"),
    _a("ntile", exp.Ntile, "this", 1, _agg("ntile", "ntile", BIGINT, _is_integer), "window"),
    _a("lag", exp.Lag, "this offset default", 3, _shift("lag"), "window", low=1),
    _a("lead", exp.Lead, "this offset default", 3, _shift("lead"), "window", low=1),
    _a("first_value", exp.FirstValue, "this", 1, _agg("first_value", "first_value", _first), "window"),
    _a("last_value", exp.LastValue, "this", 1, _agg("last_value", "last_value", _first), "window"),
    _a("nth_value", exp.NthValue, "this offset", 2,
       _nth_value, "window"),
)  # fmt: skip

# Names whose syntax or arguments are not plain; the compiler has a method for each.
SPECIAL: dict[str, type[exp.Expr]] = {
    "lpad": exp.Pad, "rpad": exp.Pad, "trim": exp.Trim, "ltrim": exp.Trim, "rtrim": exp.Trim,
    "if": exp.If, "cast": exp.Cast,
    "try_cast": exp.TryCast, "extract": exp.Extract, "date_trunc": exp.TimestampTrunc,
    "date_add": exp.DateAdd, "date_diff": exp.DateDiff, "mod": exp.Mod, "date": exp.Date,
    "bitwise_and": exp.BitwiseAnd, "bitwise_or": exp.BitwiseOr, "bitwise_xor": exp.BitwiseXor,
    "bitwise_not": exp.BitwiseNot, "element_at": exp.Bracket, "sequence": exp.GenerateSeries,
    "grouping": exp.Grouping, "exists": exp.Exists, "array": exp.Array, "now": exp.CurrentTimestamp,
    "unnest": exp.Unnest,
}  # fmt: skip

# sqlglot reads these into classes of other functions, and writes them back as those: log10(x) as log(10, x), whose
# last digit differs, and a hash of what it takes for a text as one of to_utf8(..). Without an entry they keep their names.
for _name in ("LOG10", "LOG2", "RANDOM", "RAND", "MD5", "SHA1", "SHA256", "SHA512"):
    TrinoParser.FUNCTIONS = {k: v for k, v in TrinoParser.FUNCTIONS.items() if k != _name}
# Texts by which the gateway compares expressions are in sqlglot's own dialect, which has no bytes and writes them as
# numbers: X'00' and X'0000' would be one, X'' an error.
Dialect.HEX_START, Dialect.HEX_END = "X'", "'"

_ALL = (*_SCALARS, *_AGGREGATES, *_WINDOWS)
_PLAIN_FUNCTIONS: dict[str, Function] = {name: f for f in _ALL for name in f.names}
BY_NODE: dict[type[exp.Expr], Function] = {f.node: f for f in _ALL if f.node is not None}
FUNCTIONS: dict[str, str] = {
    **{name: f.kind for name, f in _PLAIN_FUNCTIONS.items()},
    **dict.fromkeys((*SPECIAL, *LAMBDAS, "map", "row", "typeof", "format"), "special"),
}
"""Every Trino function that may be used -> its kind (scalar, aggregate, window, special)."""


def by_name(name: str) -> Function | None:
    """The function that sqlglot has no class for, by its Trino name."""
    found = _PLAIN_FUNCTIONS.get(name.lower())
    return found if found is not None and found.node is None else None


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a node calls an aggregate, also one that sqlglot has no class for."""
    called = FUNCTIONS.get(node.name.lower()) if isinstance(node, exp.Anonymous) else None
    return isinstance(node, exp.AggFunc) or called == "aggregate"


def arguments(function: Function, node: exp.Expr) -> list[Any]:
    """The argument nodes in Trino's order. Raises FUNCTION for an argument that the list doesn't know."""
    if function.node is None:
        values: list[Any] = list(node.expressions)
    else:
        extra = {k for k, v in node.args.items() if v not in (None, False, [])} - set(function.keys)
        if extra - function.flags:
            raise UserError(
                f"Function {function.name} is not available with these arguments.",
                Outcome.FUNCTION, rule="function list",
            )  # fmt: skip
        values = []
        for key in function.keys:
            value = node.args.get(key)
            values.extend(value if isinstance(value, list) else [] if value is None or value is False else [value])
    if not function.low <= len(values) <= function.high:
        outcome = Outcome.SYNTAX if function.name in ("coalesce", "nullif") else Outcome.FUNCTION
        raise UserError(f"Function {function.name} takes {_span(function)} arguments.", outcome, rule="function list")
    return values


def _span(function: Function) -> str:
    return str(function.low) if function.low == function.high else f"{function.low} to {function.high}"
