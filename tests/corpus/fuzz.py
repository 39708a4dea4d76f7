"""Random expressions and queries, compared with a real Trino: `make corpus-fuzz`.

    python -m tests.corpus.fuzz [SECONDS] [SEED]    for so long
    python -m tests.corpus.fuzz again FOLDER        what an earlier run kept, without Trino

What differs is told by its smallest part that does, and belongs into `statements/` once it is understood.
TRINO_URL: a server that runs already. FUZZ_WORKERS: processes that compare, 2 if it is not said. FUZZ_KEEP: a folder
for what Trino answered, by which a later state of atoll is compared with the same statements.

Expressions: each is a statement of its own for atoll, and a column among others of one statement for Trino, which
takes longer to begin a statement than to end it. Where atoll refuses by name, Trino is not asked.
"""

from __future__ import annotations

import gzip
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any

from catalog.errors import CityError, Outcome, TrinoError
from tests.corpus.fixtures import Answer, Number, Statement, decoded, encoded
from tests.corpus.grammar import CALLS, CELL_LEAVES, KINDS, Maker, Node
from tests.corpus.queries import Queries
from tests.corpus.record import ready
from tests.corpus.replay import answered
from tests.corpus.tables import CORPUS
from tests.corpus.test_corpus import difference
from tests.corpus.trino import Trino, running_trino

BATCH = 100
"""Expressions that are columns of one statement."""
QUERIES = 10
"""Queries for each batch of expressions."""
CONNECTIONS = 3
GROUP = 40
"""Expressions that an earlier answer of Trino's is compared with at once."""
QUERY = "a query"
TOLD = 2
"""Differences that are told for each template."""
SHRUNK = 60
"""Differences of one process of which the smallest part is looked for: that asks Trino for each part."""
WHERE = ["id IN (1, 2, 5, 6)"] * 12 + ["id <> 3", "id <> 4", "TRUE"]
"""The extremes overflow nearly everything; most statements leave them out."""

FAULTS = [
    (r"CASE (.+?) WHEN \1 THEN", "CASE x WHEN x, taken for true where x is NULL"),
    (r"PARTITION BY .* ORDER BY .*\bnan\(\).* DESC", "NaN in a window with parts, sorted downwards: last, not first"),
]
"""What Trino computes wrongly, each as a pattern of statements: these are not compared."""
_TYPING = ("FUNCTION_NOT_FOUND", "TYPE_MISMATCH", "GENERIC_USER_ERROR", "CRASH")

LIMITS = {
    "correlated subquery is not supported": "a correlated subquery that it cannot plan",
    "from outer scope not allowed in this context": "a correlated subquery that it cannot plan",
    "is not of type ROW": "a table in ORDER BY that has the name of an output",
    "FILTER is not yet supported for window functions": "FILTER with OVER",
    "comparison not supported for": "an order that comes down to a NULL in an array or row, found while it plans",
}
"""What Trino refuses, by its messages, and atoll may answer."""
_INEXACT = re.compile(
    r"\b(sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|exp|ln|log|log2|log10|power|cbrt|e|sum|avg|stddev|var_pop|variance"
    r"|corr|covar_pop|regr_slope|geometric_mean|skewness|kurtosis)\(", re.IGNORECASE,
)  # fmt: skip
"""Functions whose last digit is that of a library of Java, or of the order in which doubles are added up."""

Ask = Callable[[str], Answer]


@dataclass(frozen=True)
class Case:
    """A statement to compare.

    what: expressions or queries. parts: (text, template) of its expressions, short ones first.
    """

    what: str
    sql: str
    where: str
    parts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Batch:
    """Expressions over the same rows, then queries. ours: atoll's answers."""

    where: str
    cases: list[Case]
    ours: list[Answer]


@dataclass
class Found:
    """What one batch showed.

    tally: what happened -> how often. different: (template, text) each. spared: statements of which one side computed
    less than the other.
    """

    tally: Counter[str] = field(default_factory=Counter)
    different: list[tuple[str, str]] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)


def case_of(what: str, sql: str, where: str, nodes: Sequence[Node]) -> Case:
    parts = {n.text: n.template for node in nodes for n in node.every()}
    return Case(what, sql, where, tuple(sorted(parts.items(), key=lambda p: len(p[0]))))


def asked(sql: str) -> Answer:
    """atoll's answer; `refused` holds the reason where atoll refuses what it does not know."""
    try:
        return answered(CORPUS, sql)
    except CityError as error:
        told: Answer = {"error": error.trino.name, "message": error.message}
        by_name = error.outcome in (Outcome.NODE, Outcome.TOO_LARGE) or error.rule == "function list"
        if by_name or error.trino == TrinoError.NOT_SUPPORTED:
            told["refused" if by_name else "late"] = error.message
        return told
    except Exception:  # noqa: BLE001 - what nobody foresaw is what this looks for
        return {"error": "CRASH", "message": traceback.format_exc()[-600:]}


# ---- judging -----------------------------------------------------------------------------------------


class Judge:
    """Tells alike from different. ask: of Trino, to find the smallest part that differs; None without one."""

    def __init__(self, ask: Ask | None) -> None:
        self.ask = ask
        self.shrunk = 0

    def judge(self, case: Case, theirs: Answer, ours: Answer, found: Found) -> None:
        found.tally[case.what] += 1
        if fault := next((why for pattern, why in FAULTS if re.search(pattern, case.sql)), ""):
            found.tally[f"{case.what} with a fault of Trino: {fault}"] += 1
        elif theirs.get("error") in ("GENERIC_INTERNAL_ERROR", "SERIALIZATION_ERROR", "COMPILER_ERROR"):
            found.tally[f"{case.what} that end in an internal error of Trino"] += 1
        elif "error" in ours and ours["error"] == theirs.get("error"):
            found.tally[f"{case.what} that fail alike"] += 1
        elif limit := next((why for text, why in LIMITS.items() if text in theirs.get("message", "")), ""):
            found.tally[f"{case.what} that Trino does not answer: {limit}"] += 1
        elif "late" in ours and "error" not in theirs:
            found.tally[f"{case.what} refused for their values"] += 1
        elif "refused" in ours:
            found.tally[f"{case.what} refused"] += 1
            found.tally[f"refused: {ours['refused']}"] += 1
        elif "error" in ours and "error" in theirs and self._of_several(theirs["error"], ours["error"], case):
            found.tally[f"{case.what} of several errors"] += 1
        elif (
            "error" in ours
            and "error" not in theirs
            and ours["error"] not in _TYPING
            and self._is_another(ours["error"], case)
        ):
            found.tally[f"{case.what} with a part that fails, and that Trino does not compute"] += 1
            found.spared.append(case.sql)
        elif (
            "error" not in ours
            and "error" in theirs
            and theirs["error"] not in _TYPING
            and self._is_another(theirs["error"], case)
        ):
            found.tally[f"{case.what} with a part that fails, and that atoll does not compute"] += 1
            found.spared.append(case.sql)
        elif is_alike(case.sql, theirs, ours):
            found.tally[f"{case.what} alike"] += 1
        elif _is_near(case.sql, theirs, ours):
            found.tally[f"{case.what} alike to 13 digits"] += 1
        elif why := next((why for why, test in EXPLAINED.items() if test(case, theirs, ours)), ""):
            found.tally[f"{case.what} explained: {why}"] += 1
        else:
            found.tally[f"{case.what} different"] += 1
            found.different.append(self._smallest(case, theirs, ours))

    def _is_another(self, error: str, case: Case) -> bool:
        """Whether a smaller part fails by itself with this error: which is computed first is nobody's promise."""
        parts = case.parts[:-1] if case.what == "expressions" else case.parts
        return any(
            _stands_outside_try(case.sql, text) and asked(_alone(case, text)).get("error") == error for text, _ in parts
        )

    def _of_several(self, theirs: str, ours: str, case: Case) -> bool:
        """Whether one of two errors is that of a part: the other is another's, or that of what is made of them."""
        return "CRASH" not in (theirs, ours) and (self._is_another(theirs, case) or self._is_another(ours, case))

    def _smallest(self, case: Case, theirs: Answer, ours: Answer) -> tuple[str, str]:
        """The template and report of the smallest part that differs by itself, or of the whole."""
        template = case.parts[-1][1] if case.what == "expressions" else QUERY
        self.shrunk += 1
        for text, its in case.parts if self.ask and self.shrunk < SHRUNK else ():
            sql = _statement(text, case.where) if case.what == "expressions" else _alone(case, text)
            two = asked(sql)
            if "refused" in two or "late" in two:
                continue
            one = self.ask(sql) if self.ask else {}
            if one.get("error") in ("COLUMN_NOT_FOUND", two.get("error", "")) or is_alike(sql, one, two):
                continue
            if _is_near(sql, one, two):
                continue
            return its, _report(sql, one, two)
        return template, _report(case.sql, theirs, ours)


def _stands_outside_try(sql: str, part: str) -> bool:
    """Whether a part stands anywhere but in TRY (..), where it fails nothing."""
    held = [(found.start(), found.start() + len(_held(sql[found.start() :]))) for found in re.finditer(r"TRY\(", sql)]
    places = (found.start() for found in re.finditer(re.escape(part), sql))
    return any(not any(start < place < end for start, end in held) for place in places)


def _held(text: str) -> str:
    """The text up to the bracket that closes its first one."""
    depth = 0
    for found in re.finditer(r"'(?:[^']|'')*'|[()]", text):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if found[0] == ")" and depth == 0:
            return text[: found.end()]
    return text


def is_alike(sql: str, theirs: Answer, ours: Answer) -> bool:
    return not difference(Statement(sql), {k: v for k, v in theirs.items() if k != "message"}, ours)


def _is_near(sql: str, theirs: Answer, ours: Answer) -> bool:
    """Whether doubles of functions whose last digits differ are alike to 13 digits."""
    return bool(_INEXACT.search(sql)) and is_alike(sql, _rounded(theirs), _rounded(ours))


def _rounded(value: Any) -> Any:
    """An answer whose doubles have 13 digits, and next to nothing is 0, as the correlation of what has none."""
    if isinstance(value, Number):
        return Number(f"{float(value) if abs(float(value)) > 1e-15 else 0.0:.12e}") if "." in value else value
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


def _is_last_digit(case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether each row is Trino's once one inexact function gives the double next to its own, or its own."""
    if "error" in theirs or "error" in ours or theirs["columns"] != ours["columns"]:
        return False
    rows = list(ours["rows"])
    for part in (text for text, _ in case.parts if _INEXACT.match(text)):
        for moved in (f"({part} / 0.9999999999999999e0)", f"({part} * 0.9999999999999999e0)"):
            rows += asked(case.sql.replace(part, moved)).get("rows", [])
    return _is_made_of(rows, case, theirs, ours)


def _is_made_of(rows: Sequence[Any], case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether there are as many rows as here, and each of Trino's is one of `rows`."""
    one = {"columns": ours["columns"]}
    return len(theirs["rows"]) == len(ours["rows"]) and all(
        any(is_alike(case.sql, {**one, "rows": [row]}, {**one, "rows": [other]}) for other in rows)
        for row in theirs["rows"]
    )


def _is_sign_of_nan(case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether each row is Trino's once the four bytes of a real that is NaN have the one sign, or the other."""
    if "error" in theirs or "error" in ours or theirs["columns"] != ours["columns"]:
        return False
    rows = list(ours["rows"])
    for part in (text for text, _ in case.parts if text.startswith("to_ieee754_32(")):
        value = part.removeprefix("to_ieee754_32(").removesuffix(")")
        for nan in ("7fc00000", "ffc00000"):
            moved = f"if(is_nan({value}), from_hex('{nan}'), {part})"
            rows += asked(case.sql.replace(part, moved)).get("rows", [])
    return _is_made_of(rows, case, theirs, ours)


def _is_wide_interval(case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether a part that makes an interval, or a sum of them, is an error here alone."""
    error = "NUMERIC_VALUE_OUT_OF_RANGE"
    return (
        "error" not in theirs
        and ours.get("error") == error
        and any(t in _INTERVALS and asked(_alone(case, text)).get("error") == error for text, t in case.parts)
    )


def _is_long_interval(case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether a time is moved by more than 106 days, whose picoseconds are more than Trino's bigint holds."""
    if not any(kind.startswith("time(") for _, kind in ours.get("columns", ())):
        return False
    answers = (asked(_alone(case, text)).get("rows", []) for text, t in case.parts if t in _INTERVALS)
    found = (re.match(r"-?(\d+) ", str(row[-1])) for rows in answers for row in rows)
    return any(int(days[1]) > 105 for days in found if days)


def _is_made_in_list(case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether a part of an IN makes an array, or a row as format(..) does, whose flags Trino's IN takes for its own."""
    tested = (_bracketed(case.sql, found.start()) for found in re.finditer(r" IN \((?!SELECT )", case.sql))
    return any(re.search(r"\bARRAY\[|\bformat\(|\bROW\(|\bAS row\(|\) IN \(\(", text) for text in tested)


def _bracketed(sql: str, place: int) -> str:
    """What stands in the innermost brackets round a place."""
    depth, start = 0, place
    while start > 0 and depth < 1:
        start -= 1
        depth += {"(": 1, ")": -1}.get(sql[start], 0)
    depth, end = 0, place
    while end < len(sql) and depth > -1:
        depth += {"(": 1, ")": -1}.get(sql[end], 0)
        end += 1
    return sql[start:end]


def _is_left_out(case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether a part that nothing is made of has a type error, which Trino tells before it leaves the part out."""
    error = theirs.get("error")
    return (
        case.what == "queries"
        and error in _TYPING
        and "error" not in ours
        and any(asked(_alone(case, text)).get("error") == error for text, _ in case.parts)
    )


def _is_tried(case: Case, theirs: Answer, ours: Answer) -> bool:
    """Whether a part fails in a TRY, which makes NULL of it where it is computed: which is, is nobody's promise."""
    return (
        "error" not in theirs
        and "error" not in ours
        and any(
            text in case.sql
            and not _stands_outside_try(case.sql, text)
            and asked(_alone(case, text)).get("error") not in (None, *_TYPING, "COLUMN_NOT_FOUND")
            for text, _ in case.parts
        )
    )


_INTERVALS = frozenset((*CALLS["days"], *CALLS["months"]))
EXPLAINED: dict[str, Callable[[Case, Answer, Answer], bool]] = {
    "the sign of NaN, which is the processor's": _is_sign_of_nan,
    "an interval that overflows": _is_wide_interval,
    "a time that is moved by many days": _is_long_interval,
    "an array or a row that is made in an IN": _is_made_in_list,
    "a type error in a column that is not asked for": _is_left_out,
    "a part that fails in a TRY, and that one of the two does not compute": _is_tried,
    "the last digit of a double, in what is made of it": _is_last_digit,
}
"""What differs, and why: a test each, which sees Trino's answer and atoll's."""


def _report(sql: str, theirs: Answer, ours: Answer) -> str:
    return f"{sql};\n  Trino: {_short(theirs)}\n  atoll: {_short(ours)}"


def _short(answer: Answer) -> str:
    return (
        f"{answer['error']} {answer.get('message', '')[:600]}"
        if "error" in answer
        else f"{answer['columns']} {answer['rows']}"[:1500]
    )


def _alone(case: Case, part: str) -> str:
    """A statement of one part, over all rows."""
    if case.what == "expressions":
        return _statement(part, case.where)
    return f"SELECT {part} FROM a.main.cell AS c CROSS JOIN b.main.sale AS s"


def _statement(shown: str, where: str) -> str:
    return f"SELECT id, {shown} FROM a.main.cell WHERE {where}"


# ---- comparing ---------------------------------------------------------------------------------------


class Comparison:
    """One process's share: batches of expressions and queries from a seed. keep: a file for Trino's answers."""

    def __init__(self, trino: Trino, seed: int, keep: Path | None = None) -> None:
        self.trino = trino
        self.judge = Judge(trino.ask)
        self.rng = random.Random(seed)
        self.maker = Maker(self.rng, CELL_LEAVES)
        self.queries = Queries(self.rng)
        self.pool = ThreadPoolExecutor(CONNECTIONS)
        self.keep = keep

    def batches(self, until: float) -> Iterator[Found]:
        """While Trino answers one batch, atoll answers the next."""
        with ThreadPoolExecutor(1) as waiting:
            before, theirs = self._batch(), None
            while theirs is None or time.time() < until:
                theirs = waiting.submit(self._answers, before)
                after = self._batch()
                yield self._judged(before, theirs.result())
                before = after

    def _batch(self) -> Batch:
        where = self.rng.choice(WHERE)
        nodes = [self.maker.make(self.rng.choice(KINDS), self.rng.choice([1, 2, 2, 2, 3, 3, 4])) for _ in range(BATCH)]
        cases = [case_of("expressions", _statement(n.text, where), where, [n]) for n in nodes]
        for _ in range(QUERIES):
            sql = self.queries.query()
            cases.append(case_of("queries", sql, "TRUE", self.queries.parts))
        return Batch(where, cases, [asked(c.sql) for c in cases])

    def _answers(self, batch: Batch) -> dict[int, Answer]:
        """Trino's, by the places of the cases; nothing where atoll refuses."""
        cases, ours = batch.cases, batch.ours
        columns = [i for i in range(BATCH) if "error" not in ours[i]]
        single = [i for i in range(len(cases)) if i not in columns and "refused" not in ours[i]]
        alone = self.pool.map(self.trino.ask, [cases[i].sql for i in single])
        theirs = dict(_columns(self.trino.ask, [(i, cases[i].parts[-1][0]) for i in columns], batch.where))
        theirs.update(zip(single, alone, strict=True))
        return theirs

    def _judged(self, batch: Batch, theirs: dict[int, Answer]) -> Found:
        found = Found()
        for i, case in enumerate(batch.cases):
            self.judge.judge(case, theirs.get(i, {}), batch.ours[i], found)
        if self.keep is not None:
            _write(self.keep, [(batch.cases[i], answer) for i, answer in theirs.items()])
        return found


def _columns(ask: Ask, columns: Sequence[tuple[int, str]], where: str) -> Iterator[tuple[int, Answer]]:
    """The answers to many expressions over the same rows; those of which one fails are asked in halves."""
    if not columns:
        return
    answer = ask(_statement(", ".join(text for _, text in columns), where))
    if "error" not in answer:
        for place, (i, _) in enumerate(columns, 1):
            name, kind = answer["columns"][place]
            named = [answer["columns"][0], ["_col1" if name == f"_col{place}" else name, kind]]
            yield i, {"columns": named, "rows": [[row[0], row[place]] for row in answer["rows"]]}
    elif len(columns) == 1:
        yield columns[0][0], answer
    else:
        middle = len(columns) // 2
        yield from _columns(ask, columns[:middle], where)
        yield from _columns(ask, columns[middle:], where)


def _write(path: Path, answers: Iterable[tuple[Case, Answer]]) -> None:
    lines = [
        encoded({"what": c.what, "sql": c.sql, "where": c.where, "parts": [list(p) for p in c.parts], "answer": a})
        + b"\n"
        for c, a in answers
    ]
    with gzip.open(path, "ab", 3) as file:
        file.writelines(lines)


def _kept(path: Path) -> Iterator[tuple[Case, Answer]]:
    with gzip.open(path) as file:
        for line in file:
            found = decoded(line)
            parts = tuple((text, template) for text, template in found["parts"])
            yield Case(found["what"], found["sql"], found["where"], parts), found["answer"]


# ---- processes ---------------------------------------------------------------------------------------


def _compare(url: str, seed: int, until: float, keep: Path | None, results: Queue[Found | None]) -> None:
    mine = Comparison(Trino(url), seed, keep)
    for found in mine.batches(until):
        results.put(found)
    results.put(None)


def _again(path: Path, share: int, shares: int, url: str, results: Queue[Found | None]) -> None:
    judge = Judge(Trino(url).ask if url else None)
    groups: dict[str, list[tuple[Case, Answer]]] = {}
    for i, (case, theirs) in enumerate(_kept(path)):
        if i % shares != share:
            continue
        group = groups.setdefault("" if _is_alone(case, theirs) else case.where, [])
        group.append((case, theirs))
        if len(group) == GROUP:
            results.put(_compared(judge, group))
            group.clear()
    for group in groups.values():
        results.put(_compared(judge, group))
    results.put(None)


def _compared(judge: Judge, group: Sequence[tuple[Case, Answer]]) -> Found:
    """Expressions that have an answer as columns of one statement; by itself what then differs, and all else."""
    found = Found()
    columns = [(i, c.parts[-1][0]) for i, (c, theirs) in enumerate(group) if not _is_alone(c, theirs)]
    ours = dict(_columns(asked, columns, group[0][0].where)) if columns else {}
    for i, (case, theirs) in enumerate(group):
        same = i in ours and is_alike(case.sql, theirs, ours[i])
        judge.judge(case, theirs, ours[i] if same else asked(case.sql), found)
    return found


def _is_alone(case: Case, theirs: Answer) -> bool:
    return case.what == "queries" or "error" in theirs


def run(jobs: Sequence[tuple[Any, ...]], seconds: float) -> Counter[str]:
    """Run (function, arguments ..) each in a process of its own; tell what differs. Returns the tally."""
    context = multiprocessing.get_context("spawn")
    results: Queue[Found | None] = context.Queue()
    began = time.time()
    processes = [context.Process(target=call, args=(*args, results), daemon=True) for call, *args in jobs]
    for process in processes:
        process.start()
    tally: Counter[str] = Counter()
    templates: Counter[str] = Counter()
    spared: list[str] = []
    waited = len(jobs)
    while waited:
        try:
            found = results.get(timeout=5)
        except Empty:
            if not any(process.is_alive() for process in processes):
                tally["processes that ended before their time"] += waited
                break
            continue
        if found is None:
            waited -= 1
            continue
        tally += found.tally
        for template, text in found.different:
            templates[template] += 1
            if templates[template] <= (TOLD if template != QUERY else 50 * TOLD):
                print(f"\r\033[K[{template}]\n{text}\n", flush=True)
        spared += found.spared
        _bar(tally, time.time() - began, seconds)
    print()
    for name, number in sorted(tally.items(), key=lambda item: (item[0].startswith("refused"), -item[1])):
        print(f"{number:8,}  {name}")
    for sql in spared[:: max(1, len(spared) // 12)]:
        print(f"not computed by one: {sql}")
    print(f"what differs: {dict(templates.most_common())}")
    print(f"{len(jobs)} processes, {time.time() - began:.0f} s")
    return tally


def _bar(tally: Counter[str], elapsed: float, seconds: float) -> None:
    done = min(1.0, elapsed / seconds)
    both = [f"{tally[w]:,} {w} ({tally[f'{w} different']:,} different)" for w in ("expressions", "queries")]
    rate = tally["expressions"] / max(elapsed, 1)
    print(f"\r\033[K[{'#' * int(20 * done):.<20}] {', '.join(both)}, {rate:.0f}/s", end="", flush=True)


@contextmanager
def server() -> Iterator[str]:
    """The address of a Trino that has the corpus' tables."""
    if url := os.environ.get("TRINO_URL"):
        yield ready(Trino(url)).url
        return
    with tempfile.TemporaryDirectory() as folder, running_trino(Path(folder)) as trino:
        yield ready(trino).url


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server and the processes end too
    workers = int(os.environ.get("FUZZ_WORKERS", "2"))
    if sys.argv[1:2] == ["again"]:
        url = os.environ.get("TRINO_URL", "")
        files = sorted(Path(sys.argv[2]).glob("*.jsonl.gz"))
        tally = run(
            [
                (_again, file, n, max(1, workers // len(files)), url)
                for file in files
                for n in range(max(1, workers // len(files)))
            ],
            600,
        )
    else:
        seconds, seed = float((sys.argv[1:] or ["60"])[0]), int((sys.argv[2:] or ["1"])[0])
        folder = os.environ.get("FUZZ_KEEP")
        keep = [Path(folder) / f"{seed}-{n}.jsonl.gz" if folder else None for n in range(workers)]
        with server() as url:
            tally = run(
                [(_compare, url, 1000 * seed + n, time.time() + seconds, keep[n]) for n in range(workers)], seconds
            )
        print(f"seed {seed}")
    sys.exit(1 if tally["expressions different"] or tally["queries different"] else 0)


if __name__ == "__main__":
    main()
