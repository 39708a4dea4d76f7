"""Answer keys of Q1 and Q2, from truth alone, and what readers who ignore one rule would answer instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atoll.city import chemicals, environment, ledger, market, water, works
from atoll.city.base import Answers, Config, answer


def _differing(key: list[list[Any]], naive: dict[str, list[list[Any]]]) -> dict[str, list[list[Any]]]:
    # with little dirt or few years a rule may touch no row: it is left out, never listed as if it bit
    return {rule: rows for rule, rows in sorted(naive.items()) if rows != key}


def q1(cfg: Config) -> dict[str, Any]:
    """What goes in must come out."""
    key = ledger.answer_rows(cfg, ledger.balance(cfg))
    naive = {
        rule: ledger.answer_rows(cfg, balance)
        for maker in (chemicals, market, environment)
        for rule, balance in maker.naive_balances(cfg).items()
    }
    return answer(
        "q1",
        user="lin",
        purpose="mass-balance",
        silos=["chemicals", "market", "environment"],
        columns=[
            ("company", "varchar"),
            ("substance", "varchar"),
            ("year", "integer"),
            ("kind", "varchar"),
            ("u_g", "bigint"),
        ],
        order=["company", "substance", "year"],
        rows=key,
        naive=_differing(key, naive),
    )


def q2(cfg: Config) -> dict[str, Any]:
    """Water against output."""
    key = works.answer_rows(cfg, works.draught(cfg))
    naive = {
        rule: works.answer_rows(cfg, draught)
        for maker in (water, market)
        for rule, draught in maker.naive_draughts(cfg).items()
    }
    return answer(
        "q2",
        user="lin",
        purpose="mass-balance",
        silos=["water", "market"],
        columns=[
            ("company", "varchar"),
            ("year", "integer"),
            ("kind", "varchar"),
            ("litres", "bigint"),
            ("qty", "decimal(18,3)"),
        ],
        order=["company", "year"],
        rows=key,
        naive=_differing(key, naive),
    )


def write(cfg: Config, out: Path) -> Answers:
    """The keys of Q1 and Q2; no files of its own."""
    return Answers([q1(cfg), q2(cfg)])
