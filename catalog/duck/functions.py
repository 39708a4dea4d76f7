"""The closed list of functions: each Trino name, how sqlglot parses it, its result type, its DuckDB form.

A function that is not here does not exist for atoll, whatever Trino, sqlglot or DuckDB know. To add one,
add a row to a table below and a case to the tests; say in the row how NULL, bounds and types behave.

    FUNCTIONS   Trino name (lower case) -> Function
    BY_NODE     sqlglot class -> Function
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from sqlglot import exp

from catalog.duck.typing import Typed, cast_to, common, decimal_quotient, mismatch, sql_text
from catalog.errors import Outcome, TrinoError, UserError
from catalog.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, TrinoType

__all__ = ["BY_NODE", "FUNCTIONS", "SPECIAL", "Function", "unknown_function"]

Kind = Literal["scalar", "aggregate", "window"]
Rule = Callable[[Sequence[Typed]], Typed]


@dataclass(frozen=True)
class Call:
    """How an aggregate is called: DISTINCT, inner ORDER BY, IGNORE NULLS; after: FILTER and OVER."""

    distinct: bool = False
    order: str = ""
    nulls: str = ""
    after: str = ""

    def __call__(self, name: str, *arguments: str) -> str:
        inner = ("DISTINCT " if self.distinct else "") + ", ".join(arguments)
        return f"{name}({inner}{self.order}{self.nulls}){self.after}"


AggregateRule = Callable[[Sequence[Typed], Call], Typed]

TINY, SMALL, REAL = TrinoType("tinyint"), TrinoType("smallint"), TrinoType("real")
VARBINARY = TrinoType("varbinary")
JSON = TrinoType("json")
STAMP_TZ = TrinoType("timestamp with time zone", (3,))


@dataclass(frozen=True)
class Function:
    """One function of the closed list.

    names: Trino's spellings. node: the sqlglot class, None if sqlglot parses it as Anonymous.
    keys: the class's argument keys in Trino's order; a key whose value is a list spreads.
    low, high: number of arguments. flags: other arguments of the node that carry no meaning here.
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

    @property
    def name(self) -> str:
        return self.names[0]


def unknown_function(name: str, allowed: Sequence[str] = ()) -> UserError:
    """FUNCTION: refused by name, with the nearest allowed name."""
    near = get_close_matches(name.lower(), allowed or list(FUNCTIONS), n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}?" if near else ""
    return UserError(f"Function {name.lower()} is not available.", Outcome.FUNCTION, rule="function list", hint=hint)


# ---- result types and argument checks ----------------------------------------------------------------


def _first(args: Sequence[Typed]) -> TrinoType:
    return args[0].type


def _need(name: str, args: Sequence[Typed], *tests: Callable[[TrinoType], bool]) -> None:
    for arg, test in zip(args, tests, strict=False):
        if arg.type.name != "unknown" and not test(arg.type):
            raise mismatch(f"{name} does not take an argument of type {arg.type}.")


def _is_text(t: TrinoType) -> bool:
    return t.is_text or t.name == "json"


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


# ---- numbers -----------------------------------------------------------------------------------------


def _whole(name: str, call: str) -> Rule:
    """ceil, floor, truncate with one argument: integers stay, decimals lose their scale."""

    def rule(args: Sequence[Typed]) -> Typed:
        _need(name, args, _is_number)
        kind = args[0].type
        if kind.is_integer or kind.name == "unknown":
            return Typed(args[0].sql, kind)
        if kind.name == "decimal":
            p, s = kind.args
            kind = TrinoType("decimal", (min(38, p - s + min(s, 1)), 0))
            return Typed(f"CAST({call}({args[0].sql}) AS {kind.duckdb()})", kind)
        return Typed(f"CAST({call}({args[0].sql}) AS {kind.duckdb()})", kind)

    return rule


def _round(args: Sequence[Typed]) -> Typed:
    if len(args) == 1:
        return _whole("round", "round")(args)
    return _digits("round", args)


def _truncate(args: Sequence[Typed]) -> Typed:
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
    return Typed(f"CAST({call}({value.sql}, {digits.sql}) AS {kind.duckdb()})", kind)


def _sign(args: Sequence[Typed]) -> Typed:
    _need("sign", args, _is_number)
    kind = args[0].type
    if kind.name == "decimal":
        kind = TrinoType("decimal", (1, 0))
    return Typed(f"CAST(sign({args[0].sql}) AS {kind.duckdb()})", kind)


def _extreme(call: str) -> Rule:
    """greatest, least: NULL as soon as one argument is NULL (DuckDB skips NULLs)."""

    def rule(args: Sequence[Typed]) -> Typed:
        kind = common([a.type for a in args])
        if kind is None:
            raise mismatch(f"{call} needs arguments of one type.")
        parts = [cast_to(a, kind).sql for a in args]
        nulls = " OR ".join(f"{p} IS NULL" for p in parts)
        return Typed(f"CASE WHEN {nulls} THEN NULL ELSE {call}({', '.join(parts)}) END", kind)

    return rule


def _coalesce(args: Sequence[Typed]) -> Typed:
    kind = common([a.type for a in args])
    if kind is None:
        raise mismatch("coalesce needs arguments of one type.")
    return Typed(f"coalesce({', '.join(cast_to(a, kind).sql for a in args)})", kind)


def _nullif(args: Sequence[Typed]) -> Typed:
    if common([a.type for a in args]) is None:
        raise mismatch(f"nullif cannot compare {args[0].type} with {args[1].type}.")
    return Typed(f"nullif({args[0].sql}, {args[1].sql})", args[0].type)


# ---- text --------------------------------------------------------------------------------------------


def concat(args: Sequence[Typed]) -> Typed:
    lists = all(_is_array(a.type) for a in args)
    if lists:
        kind = common([a.type for a in args])
    else:
        _need("concat", args, *[_is_text] * len(args))
        kind = VARCHAR
    if kind is None:
        raise mismatch("concat needs arguments of one type.")
    sql = _known(args[0], kind)
    for arg in args[1:]:
        sql = f"{'tr_append' if lists else 'tr_concat'}({sql}, {_known(arg, kind)})"
    return Typed(sql, kind)


def _known(arg: Typed, kind: TrinoType) -> str:
    """A NULL needs the result's type: DuckDB's own NULL would give the result another."""
    return cast_to(arg, kind).sql if arg.type.name == "unknown" else arg.sql


def _substr(args: Sequence[Typed]) -> Typed:
    _need("substr", args, _is_text, _is_integer, _is_integer)
    start = args[1].value
    if isinstance(start, int) and start > 0 and (len(args) == 2 or _positive(args[2])):
        return Typed(f"substr({', '.join(a.sql for a in args)})", VARCHAR)
    call = "tr_substr" if len(args) == 2 else "tr_substr3"
    return Typed(f"{call}({', '.join(a.sql for a in args)})", VARCHAR)


def _positive(arg: Typed) -> bool:
    return isinstance(arg.value, int) and arg.value > 0


def _literal(name: str, what: str, arg: Typed) -> str:
    if not isinstance(arg.value, str):
        raise UserError(f"{name} needs a literal {what}.", Outcome.NODE, rule="closed list")
    return arg.value


def _regexp_replace(args: Sequence[Typed]) -> Typed:
    _need("regexp_replace", args, _is_text, _is_text, _is_text)
    replacement = _literal("regexp_replace", "replacement", args[2]) if len(args) == 3 else ""
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
    return Typed(f"tr_regexp_replace({args[0].sql}, {args[1].sql}, {sql_text(out)})", VARCHAR)


# Python's strftime codes, which sqlglot makes of Trino's MySQL format, that DuckDB writes as Trino does.
_FORMAT_CODES = frozenset(
    ["%Y", "%y", "%m", "%-m", "%d", "%-d", "%H", "%-H", "%I", "%-I", "%M", "%S", "%f", "%j", "%B", "%b",
     "%A", "%a", "%p", "%T", "%%"]
)  # fmt: skip


def _format(name: str, arg: Typed) -> str:
    text = _literal(name, "format", arg)
    i = 0
    while i < len(text):
        if text[i] == "%":
            code = text[i : i + 3] if text[i + 1 : i + 2] == "-" else text[i : i + 2]
            if code not in _FORMAT_CODES:
                raise UserError(f"{name} does not support the code {code}.", Outcome.NODE, rule="closed list")
            i += len(code)
        else:
            i += 1
    return sql_text(text.replace("%T", "%H:%M:%S"))


def _date_format(args: Sequence[Typed]) -> Typed:
    _need("date_format", args, _is_date)
    return Typed(f"strftime({args[0].sql}, {_format('date_format', args[1])})", VARCHAR)


def _date_parse(args: Sequence[Typed]) -> Typed:
    _need("date_parse", args, _is_text)
    return Typed(f"strptime({args[0].sql}, {_format('date_parse', args[1])})", TIMESTAMP)


# ---- dates -------------------------------------------------------------------------------------------


def part(name: str, template: str, *tests: Callable[[TrinoType], bool]) -> Rule:
    return _plain(name, f"CAST({template} AS BIGINT)", BIGINT, *tests)


def _to_iso8601(args: Sequence[Typed]) -> Typed:
    _need("to_iso8601", args, _is_date)
    if args[0].type.name == "date":
        return Typed(f"CAST({args[0].sql} AS VARCHAR)", VARCHAR)
    zone = "Z" if args[0].type.name.endswith("zone") else ""
    return Typed(f"strftime({args[0].sql}, '%Y-%m-%dT%H:%M:%S.%g{zone}')", VARCHAR)


# ---- arrays ------------------------------------------------------------------------------------------


def _element(args: Sequence[Typed]) -> TrinoType:
    inner = args[0].type.args
    return inner[0] if inner else VARCHAR


def _array_of(args: Sequence[Typed]) -> TrinoType:
    return TrinoType("array", (args[0].type,))


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
    _need("sum", args, _is_number)
    kind = args[0].type
    if kind.is_integer or kind.name == "unknown":
        kind = BIGINT
    if kind.name == "decimal":
        kind = TrinoType("decimal", (38, kind.args[1]))
    return Typed(f"CAST({call('sum', args[0].sql)} AS {kind.duckdb()})", kind)


def _avg(args: Sequence[Typed], call: Call) -> Typed:
    """Decimals: sum / count, rounded half up at the column's scale, exactly; all else in double."""
    _need("avg", args, _is_number)
    kind = args[0].type
    if kind.name != "decimal":
        out = kind if kind.name == "real" else DOUBLE
        return Typed(f"CAST({call('avg', args[0].sql)} AS {out.duckdb()})", out)
    total, number = call("sum", args[0].sql), call("count", args[0].sql)
    scale = kind.args[1]
    quotient = decimal_quotient(total, number, (scale, 0), TrinoType("decimal", (38, scale)))
    return Typed(f"CASE WHEN {number} > 0 THEN CAST({quotient.sql} AS {kind.duckdb()}) END", kind)


def _approx_distinct(args: Sequence[Typed], call: Call) -> Typed:
    """Exact instead of approximate, which Trino's contract allows."""
    return Typed(Call(distinct=True, after=call.after)("count", args[0].sql), BIGINT)


def _approx_percentile(args: Sequence[Typed], call: Call) -> Typed:
    """Exact instead of approximate, which Trino's contract allows. The percentage is a literal."""
    _need("approx_percentile", args, _is_number, _is_number)
    if args[1].value is None:
        raise UserError("approx_percentile needs a literal percentage.", Outcome.NODE, rule="closed list")
    return Typed(call("quantile_disc", args[0].sql, args[1].sql), args[0].type)


def _listagg(args: Sequence[Typed], call: Call) -> Typed:
    _need("listagg", args, _is_text, _is_text)
    separator = args[1].sql if len(args) == 2 else "''"
    return Typed(call("string_agg", args[0].sql, separator), VARCHAR)


def _shift(name: str) -> AggregateRule:
    """lag, lead: value[, offset[, default]]; the default takes the value's type."""

    def rule(args: Sequence[Typed], call: Call) -> Typed:
        _need(name, args, _any, _is_integer)
        kind = args[0].type if len(args) < 3 else common([args[0].type, args[2].type])
        if kind is None:
            raise mismatch(f"{name} needs a default of the value's type.")
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
    _f("lower", exp.Lower, "this", 1, 1, _plain("lower", "lower({0})", _first, _is_text)),
    _f("upper", exp.Upper, "this", 1, 1, _plain("upper", "upper({0})", _first, _is_text)),
    _f("length char_length character_length", exp.Length, "this", 1, 1,
       _plain("length", "length({0})", BIGINT, _is_text)),
    _f("reverse", exp.Reverse, "this", 1, 1, _plain("reverse", "reverse({0})", _first, _is_text)),
    _f("replace", exp.Replace, "this expression replacement", 2, 3,
       lambda a: _plain("replace", "tr_replace({0}, {1}, {2})", VARCHAR, _is_text, _is_text, _is_text)(
           [*a, Typed("''", VARCHAR)][:3])),
    _f("strpos position", exp.StrPosition, "this substr", 2, 2,
       _plain("strpos", "CAST(strpos({0}, {1}) AS BIGINT)", BIGINT, _is_text, _is_text)),
    _f("translate", exp.Translate, "this from_ to", 3, 3,
       _plain("translate", "translate({0}, {1}, {2})", VARCHAR, _is_text, _is_text, _is_text)),
    _f("substr substring", exp.Substring, "this start length", 2, 3, _substr),
    _f("split_part", exp.SplitPart, "this delimiter part_index", 3, 3,
       _plain("split_part", "tr_split_part({0}, {1}, {2})", VARCHAR, _is_text, _is_text, _is_integer)),
    _f("split", exp.Split, "this expression", 2, 2,
       _plain("split", "string_split({0}, {1})", TrinoType("array", (VARCHAR,)), _is_text, _is_text)),
    _f("starts_with", exp.StartsWith, "this expression", 2, 2,
       _plain("starts_with", "starts_with({0}, {1})", BOOLEAN, _is_text, _is_text)),
    _f("ends_with", exp.EndsWith, "this expression", 2, 2,
       _plain("ends_with", "ends_with({0}, {1})", BOOLEAN, _is_text, _is_text)),
    _f("concat", exp.Concat, "expressions", 2, 64, concat, "safe coalesce"),
    _f("concat_ws", exp.ConcatWs, "expressions", 2, 64,
       lambda a: Typed(f"concat_ws({', '.join(x.sql for x in a)})", VARCHAR), "safe coalesce"),
    _f("chr", exp.Chr, "expressions", 1, 1,
       _plain("chr", "chr(CAST({0} AS INTEGER))", VARCHAR, _is_integer), "charset"),
    _f("codepoint", None, "", 1, 1, _plain("codepoint", "unicode({0})", TrinoType("integer"), _is_text)),
    _f("to_hex", exp.Hex, "this", 1, 1, _plain("to_hex", "hex({0})", VARCHAR, _is_binary)),
    _f("from_hex", exp.Unhex, "this", 1, 1, _plain("from_hex", "unhex({0})", VARBINARY, _is_text)),
    _f("to_utf8", exp.Encode, "this", 1, 1, _plain("to_utf8", "encode({0})", VARBINARY, _is_text), "charset"),
    _f("from_utf8", exp.Decode, "this", 1, 1, _plain("from_utf8", "decode({0})", VARCHAR, _is_binary),
       "charset replace"),
    _f("md5", exp.MD5Digest, "this", 1, 1, _plain("md5", "unhex(md5({0}))", VARBINARY, _is_binary)),
    _f("sha256", exp.SHA2Digest, "this", 1, 1, _plain("sha256", "unhex(sha256({0}))", VARBINARY, _is_binary),
       "length"),
    _f("normalize", exp.Normalize, "this", 1, 1,
       _plain("normalize", "tr_nfc({0})", VARCHAR, _is_text), ""),
    _f("regexp_like", exp.RegexpLike, "this expression", 2, 2,
       _plain("regexp_like", "regexp_matches({0}, {1})", BOOLEAN, _is_text, _is_text)),
    _f("regexp_extract", exp.RegexpExtract, "this expression group", 2, 3,
       lambda a: _plain("regexp_extract", "tr_regexp_extract({0}, {1}, {2})", VARCHAR, _is_text, _is_text,
                        _is_integer)([*a, Typed("0", TrinoType("integer"))][:3]),
       "null_if_pos_overflow"),
    _f("regexp_replace", exp.RegexpReplace, "this expression replacement", 2, 3, _regexp_replace),
    _f("regexp_count", exp.RegexpCount, "this expression", 2, 2,
       _plain("regexp_count", "CAST(len(regexp_extract_all({0}, {1})) AS BIGINT)", BIGINT, _is_text,
              _is_text)),
    _f("regexp_extract_all", exp.RegexpExtractAll, "this expression group", 2, 3,
       lambda a: _plain("regexp_extract_all", "regexp_extract_all({0}, {1}, {2})",
                        TrinoType("array", (VARCHAR,)), _is_text, _is_text, _is_integer)(
           [*a, Typed("0", TrinoType("integer"))][:3])),
    _f("regexp_split", exp.RegexpSplit, "this expression", 2, 2,
       _plain("regexp_split", "regexp_split_to_array({0}, {1})", TrinoType("array", (VARCHAR,)),
              _is_text, _is_text)),
    # conditions
    _f("try", exp.Try, "this", 1, 1, _plain("try", "TRY({0})", _first)),
    _f("coalesce", exp.Coalesce, "this expressions", 2, 64, _coalesce),
    _f("nullif", exp.Nullif, "this expression", 2, 2, _nullif),
    _f("greatest", exp.Greatest, "this expressions", 1, 64, _extreme("greatest"), "ignore_nulls"),
    _f("least", exp.Least, "this expressions", 1, 64, _extreme("least"), "ignore_nulls"),
    # numbers
    _f("abs", exp.Abs, "this", 1, 1, _plain("abs", "abs({0})", _first, _is_number)),
    _f("ceil ceiling", exp.Ceil, "this", 1, 1, _whole("ceil", "ceil")),
    _f("floor", exp.Floor, "this", 1, 1, _whole("floor", "floor")),
    _f("round", exp.Round, "this decimals", 1, 2, _round),
    _f("truncate", exp.Trunc, "this decimals", 1, 2, _truncate),
    _f("power pow", exp.Pow, "this expression", 2, 2, _doubles("power", "power({0}, {1})")),
    _f("sqrt", exp.Sqrt, "this", 1, 1, _doubles("sqrt", "sqrt({0})")),
    _f("cbrt", exp.Cbrt, "this", 1, 1, _doubles("cbrt", "cbrt({0})")),
    _f("exp", exp.Exp, "this", 1, 1, _doubles("exp", "exp({0})")),
    _f("ln", exp.Ln, "this", 1, 1, _doubles("ln", "ln({0})")),
    _f("log log10 log2", exp.Log, "this expression", 2, 2, _doubles("log", "(ln({1}) / ln({0}))")),
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
    _f("asin", exp.Asin, "this", 1, 1, _doubles("asin", "asin({0})")),
    _f("acos", exp.Acos, "this", 1, 1, _doubles("acos", "acos({0})")),
    _f("atan", exp.Atan, "this", 1, 1, _doubles("atan", "atan({0})")),
    _f("atan2", exp.Atan2, "this expression", 2, 2, _doubles("atan2", "atan2({0}, {1})")),
    _f("degrees", exp.Degrees, "this", 1, 1, _doubles("degrees", "degrees({0})")),
    _f("radians", exp.Radians, "this", 1, 1, _doubles("radians", "radians({0})")),
    # dates
    _f("year", exp.Year, "this", 1, 1, part("year", "year({0})", _is_date)),
    _f("quarter", exp.Quarter, "this", 1, 1, part("quarter", "quarter({0})", _is_date)),
    _f("month", exp.Month, "this", 1, 1, part("month", "month({0})", _is_date)),
    _f("week week_of_year", exp.WeekOfYear, "this", 1, 1, part("week", "week({0})", _is_date)),
    _f("day", exp.Day, "this", 1, 1, part("day", "day({0})", _is_date)),
    _f("day_of_month", exp.DayOfMonth, "this", 1, 1, part("day", "day({0})", _is_date)),
    _f("day_of_week dow", exp.DayOfWeekIso, "this", 1, 1, part("day_of_week", "isodow({0})", _is_date)),
    _f("day_of_year doy", exp.DayOfYear, "this", 1, 1, part("day_of_year", "dayofyear({0})", _is_date)),
    _f("year_of_week", exp.YearOfWeek, "this", 1, 1, part("year_of_week", "isoyear({0})", _is_date)),
    _f("yow", None, "", 1, 1, part("year_of_week", "isoyear({0})", _is_date)),
    _f("hour", exp.Hour, "this", 1, 1, part("hour", "hour({0})", _is_stamp)),
    _f("minute", exp.Minute, "this", 1, 1, part("minute", "minute({0})", _is_stamp)),
    _f("second", exp.Second, "this", 1, 1, part("second", "second({0})", _is_stamp)),
    _f("millisecond", None, "", 1, 1, part("millisecond", "(millisecond({0}) % 1000)", _is_stamp)),
    _f("from_unixtime", exp.UnixToTime, "this", 1, 1,
       lambda a: Typed(f"to_timestamp({cast_to(a[0], DOUBLE).sql})", STAMP_TZ)),
    _f("to_unixtime", exp.TimeToUnix, "this", 1, 1,
       _plain("to_unixtime", "CAST(epoch({0}) AS DOUBLE)", DOUBLE, _is_date)),
    _f("date_format", exp.TimeToStr, "this format", 2, 2, _date_format),
    _f("date_parse", exp.StrToTime, "this format", 2, 2, _date_parse),
    _f("last_day_of_month", exp.LastDay, "this", 1, 1,
       _plain("last_day_of_month", "last_day({0})", DATE, _is_date)),
    _f("from_iso8601_date", exp.FromISO8601Date, "this", 1, 1,
       _plain("from_iso8601_date", "CAST({0} AS DATE)", DATE, _is_text)),
    _f("to_iso8601", None, "", 1, 1, _to_iso8601),
    # json
    _f("json_extract_scalar", exp.JSONExtractScalar, "this expression", 2, 2,
       _plain("json_extract_scalar", "tr_json_scalar({0}, {1})", VARCHAR, _is_text), "scalar_only"),
    _f("json_extract", exp.JSONExtract, "this expression", 2, 2,
       _plain("json_extract", "tr_json_extract({0}, {1})", JSON, _is_text)),
    _f("json_parse", exp.ParseJSON, "this", 1, 1, _plain("json_parse", "CAST(json({0}) AS VARCHAR)", JSON,
                                                         _is_text)),
    _f("json_format", exp.JSONFormat, "this", 1, 1, _plain("json_format", "{0}", VARCHAR, _is_text)),
    _f("json_array_length", None, "", 1, 1,
       _plain("json_array_length", "CAST(json_array_length({0}) AS BIGINT)", BIGINT, _is_text)),
    # arrays
    _f("cardinality", exp.ArraySize, "this", 1, 1,
       _plain("cardinality", "CAST(len({0}) AS BIGINT)", BIGINT, _is_array)),
    _f("contains", exp.ArrayContains, "this expression", 2, 2,
       _plain("contains", "tr_contains({0}, {1})", BOOLEAN, _is_array, _any), "ensure_variant check_null"),
    _f("array_join", exp.ArrayToString, "this expression", 2, 2,
       _plain("array_join", "array_to_string({0}, {1})", VARCHAR, _is_array, _is_text)),
    _f("array_distinct", exp.ArrayDistinct, "this", 1, 1,
       _plain("array_distinct", "list_distinct({0})", _first, _is_array), "check_null"),
    _f("array_sort", exp.ArraySort, "this", 1, 1,
       _plain("array_sort", "list_sort({0}, 'ASC', 'NULLS LAST')", _first, _is_array), "nulls_first"),
    _f("array_max", exp.ArrayMax, "this", 1, 1, _plain("array_max", "list_max({0})", _element, _is_array)),
    _f("array_min", exp.ArrayMin, "this", 1, 1, _plain("array_min", "list_min({0})", _element, _is_array)),
    _f("array_position", exp.ArrayPosition, "this expression", 2, 2,
       _plain("array_position", "CAST(coalesce(list_position({0}, {1}), 0) AS BIGINT)", BIGINT, _is_array,
              _any), "zero_based"),
)  # fmt: skip

_AGGREGATES: tuple[Function, ...] = (
    _a("count", exp.Count, "this", 1, _count, flags="big_int"),
    _a("sum", exp.Sum, "this", 1, _sum),
    _a("avg", exp.Avg, "this", 1, _avg),
    _a("min", exp.Min, "this", 1, _agg("min", "min", _first)),
    _a("max", exp.Max, "this", 1, _agg("max", "max", _first)),
    _a("count_if", exp.CountIf, "this", 1,
       _agg("count_if", "count_if", BIGINT, _is_boolean, cast=True)),
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
       _agg("corr", "corr", DOUBLE, _is_number, _is_number, doubles=True), flags="null_on_zero_variance"),
    _a("covar_pop", exp.CovarPop, "this expression", 2,
       _agg("covar_pop", "covar_pop", DOUBLE, _is_number, _is_number, doubles=True)),
    _a("covar_samp", exp.CovarSamp, "this expression", 2,
       _agg("covar_samp", "covar_samp", DOUBLE, _is_number, _is_number, doubles=True)),
    _a("regr_slope", exp.RegrSlope, "this expression", 2,
       _agg("regr_slope", "regr_slope", DOUBLE, _is_number, _is_number, doubles=True)),
    _a("regr_intercept", exp.RegrIntercept, "this expression", 2,
       _agg("regr_intercept", "regr_intercept", DOUBLE, _is_number, _is_number, doubles=True)),
    _a("geometric_mean", None, "", 1,
       _agg("geometric_mean", "geomean", DOUBLE, _is_number, doubles=True)),
    _a("approx_distinct", exp.ApproxDistinct, "this", 1,
       _approx_distinct),
    _a("approx_percentile", exp.ApproxQuantile, "this quantile", 2, _approx_percentile),
    _a("arbitrary any_value", exp.AnyValue, "this", 1, _agg("arbitrary", "any_value", _first)),
    _a("max_by", exp.ArgMax, "this expression", 2, _agg("max_by", "arg_max_null", _first)),
    _a("min_by", exp.ArgMin, "this expression", 2, _agg("min_by", "arg_min_null", _first)),
    _a("array_agg", exp.ArrayAgg, "this", 1, _agg("array_agg", "array_agg", _array_of),
       flags="nulls_excluded"),
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
       _agg("nth_value", "nth_value", _first, _any, _is_integer), "window"),
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

_ALL = (*_SCALARS, *_AGGREGATES, *_WINDOWS)
_PLAIN_FUNCTIONS: dict[str, Function] = {name: f for f in _ALL for name in f.names}
BY_NODE: dict[type[exp.Expr], Function] = {f.node: f for f in _ALL if f.node is not None}
FUNCTIONS: dict[str, str] = {
    **{name: f.kind for name, f in _PLAIN_FUNCTIONS.items()},
    **dict.fromkeys(SPECIAL, "special"),
}
"""Every Trino function that may be used -> its kind (scalar, aggregate, window, special)."""


def by_name(name: str) -> Function | None:
    """The function that sqlglot has no class for, by its Trino name."""
    found = _PLAIN_FUNCTIONS.get(name.lower())
    return found if found is not None and found.node is None else None


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
            values.extend(value if isinstance(value, list) else [] if value is None else [value])
    if not function.low <= len(values) <= function.high:
        raise UserError(
            f"Function {function.name} takes {_span(function)} arguments.",
            trino=TrinoError.INVALID_ARGUMENTS, rule="function list",
        )  # fmt: skip
    return values


def _span(function: Function) -> str:
    return str(function.low) if function.low == function.high else f"{function.low} to {function.high}"
