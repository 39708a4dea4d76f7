"""What the differencing guard costs: its own part of an answer, at 10,000 released cells.

    python -m bench.guard [--cells 10000]

Twenty thousand people in 480 base cells, asked at random by two or three dimensions and one or two conditions. For each
quarter of the history it prints how long the guard took per answer, in milliseconds of processor time; the last one
counts: 95 of 100 answers in less than 250 ms. Exit status 1 if they are not.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from catalog.exchange import canonical_json
from connectors.agent.disclosure import Answer, Field, Question, Rules
from connectors.base import Predicate
from tests.agent.test_trackers import cells, dashboard_world

GOAL = 0.25
RULES = Rules(10)


def measure(wanted: int, seed: int = 3) -> tuple[list[float], int, int]:
    """(seconds of each answer, released cells, refusals)."""
    crowd = dashboard_world()
    field = Field([crowd], [RULES])
    names = list(crowd.variant.columns)
    rng = random.Random(seed)
    spent: list[float] = []
    released = refused = 0
    while released < wanted:
        keys = tuple(sorted(rng.sample(names, rng.choice([2, 3, 3])), key=names.index))
        rest = [n for n in names if n not in keys]
        predicates = tuple(
            Predicate(n, "in", tuple(rng.sample(crowd.values[names.index(n)], rng.randint(1, 3))))
            for n in rng.sample(rest, rng.randint(0, min(1, len(rest))))
        )
        question = Question(predicates, keys, cells(crowd, predicates, keys, RULES.k))
        begun = time.process_time()
        given = field.admit(Answer(0, question, RULES))
        spent.append(time.process_time() - begun)
        released += len(given.cells) if given is not None else 0
        refused += given is None
    return spent, released, refused


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000, help="released cells at which to stop")
    spent, released, refused = measure(parser.parse_args().cells)
    size = max(1, len(spent) // 4)
    late = 0.0
    for part in (spent[i : i + size] for i in range(0, 4 * size, size)):
        ordered = sorted(part)
        median, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
        print(f"{len(part):5} answers: median {1000 * median:6.1f} ms, 95 of 100 below {1000 * late:6.1f} ms")
    print(canonical_json({"answers": len(spent), "cells": released, "refused": refused}).decode())
    return int(late > GOAL)


if __name__ == "__main__":
    sys.exit(main())
