"""Agents with one fault each, to prove that the suite can fail: each replaces one function of an honest agent.

    with weakened("masks in the outermost projection", monkeypatch): ...

The seams are those that a reviewer would look at first: admission, decision, enforcement, push-down, errors, tokens,
replay. A seam that is gone makes the test fail, not pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from catalog import duck, identity, policy
from catalog.errors import CityError, InternalError, Outcome
from catalog.identity import Principal, TokenVerifier
from connectors.agent import admit as admission
from connectors.agent import authorise, fragment, plan, pushdown
from connectors.agent.authorise import Access, Governed
from connectors.agent.enforce import enforce

__all__ = ["BUILDS", "Build"]

Build = Callable[[pytest.MonkeyPatch], None]


def _decisions_ignore_purposes(patch: pytest.MonkeyPatch) -> None:
    """Every grant fits every purpose."""
    honest = policy.decide

    def decide(department: Any, sub: str, purpose: str, relation: str, now: Any) -> Any:
        found = (honest(department, sub, p, relation, now) for p in (purpose, *department.purposes))
        return next((d for d in found if d is not None), None)

    patch.setattr(authorise, "decide", decide)


def _names_without_case(patch: pytest.MonkeyPatch) -> None:
    """Users compare in lower case and trimmed, as some directories do."""
    honest = policy.decide

    def decide(department: Any, sub: str, *rest: Any) -> Any:
        return honest(department, sub.strip().strip("\0").lower(), *rest)

    patch.setattr(authorise, "decide", decide)


def _grants_never_end(patch: pytest.MonkeyPatch) -> None:
    honest = policy.decide

    def decide(department: Any, sub: str, purpose: str, relation: str, now: Any) -> Any:
        return honest(department, sub, purpose, relation, now) or honest(
            department, sub, purpose, relation, now.replace(year=2019)
        )

    patch.setattr(authorise, "decide", decide)


def _denials_are_overlooked(patch: pytest.MonkeyPatch) -> None:
    """A grant of mode `none` beside another counts for nothing."""
    honest = policy.decide

    def decide(department: Any, *question: Any) -> Any:
        kept = tuple(g for g in department.grants if g.mode != "none")
        blind = department.model_copy(update={"grants": kept})
        blind.__dict__.pop("rules", None)  # what it remembers of its grants by relation
        return honest(blind, *question)

    patch.setattr(authorise, "decide", decide)


def _without_row_filter(patch: pytest.MonkeyPatch) -> None:
    def unfiltered(*arguments: Any, **named: Any) -> Any:
        found = enforce(*arguments, **named)
        return replace(found, native=replace(found.native, row_filters=()))

    patch.setattr(plan, "enforce", unfiltered)


def _a_forgotten_mask(patch: pytest.MonkeyPatch) -> None:
    def forgetful(name: str, relation: Governed, *rest: Any, **named: Any) -> Any:
        left = {c: m for c, m in relation.masks.items() if c not in ("income", "mail")}
        return enforce(name, replace(relation, masks=left), *rest, **named)

    patch.setattr(plan, "enforce", forgetful)


def _raw_predicates_below_masks(patch: pytest.MonkeyPatch) -> None:
    honest = pushdown.predicates_of
    patch.setattr(plan, "predicates_of", lambda table, relation, allowed: honest(
        table, replace(relation, masks={}), allowed))  # fmt: skip


def _raw_keys_below_masks(patch: pytest.MonkeyPatch) -> None:
    honest = pushdown.keys_of
    patch.setattr(plan, "keys_of", lambda table, relation, allowed: honest(
        table, replace(relation, masks={}), allowed))  # fmt: skip


def _masks_in_the_outermost_projection(patch: pytest.MonkeyPatch) -> None:
    """Expressions meet raw values; only what is shown bare is masked."""
    honest = plan.plan_rows

    def outermost(tree: Any, access: Access, *rest: Any, **named: Any) -> Any:
        masks = {c: m for g in access.visible().values() for c, m in g.masks.items()}
        outputs = [item.this.name if item.this.key == "column" else "" for item in getattr(tree, "selects", [])]
        bare = {n: replace(g, masks={}, columns={c: g.spec.columns[c].type for c in g.columns})
                for n, g in access.visible().items()}  # fmt: skip
        access._found.update(bare)
        found = honest(tree, access, *rest, **named)
        if len(outputs) != len(found.columns):
            return found
        pairs = list(zip(outputs, found.columns, strict=True))
        listed = ", ".join(f"{masks[o].duckdb(n) if o in masks else n} AS {n}" for o, (n, _) in pairs)
        columns = tuple((n, masks[o].type if o in masks else kind) for o, (n, kind) in pairs)
        return replace(found, sql=f"SELECT {listed} FROM ({found.sql}) AS q", columns=columns)

    patch.setattr(fragment, "plan_rows", outermost)


def _rows_in_the_silos_order(patch: pytest.MonkeyPatch) -> None:
    """LIMIT goes down whatever is hidden: the silo's own order decides who is among the first."""
    honest = pushdown.limit_of
    patch.setattr(plan, "limit_of", lambda tree, table, complete, sources: honest(tree, table, True, sources))


def _errors_with_values(patch: pytest.MonkeyPatch) -> None:
    """The engine's own text is passed on."""

    def telling(self: Any, bad: BaseException) -> CityError:
        cause = bad.__cause__ or bad
        return InternalError(f"Failed: {cause}", Outcome.EXECUTION, who=self.who)

    patch.setattr(fragment.FragmentRun, "_as_city_error", telling)


def _refusals_that_differ(patch: pytest.MonkeyPatch) -> None:
    """What exists and is not granted is refused in other words than what does not exist."""
    honest = authorise.not_available

    def telling(name: str, department: str, near: str = "") -> Any:
        error = honest(name, department, near)
        if name in ("salary", "expired", "future", "withdrawn", "personal", "figures"):
            error.hint = "Ask its owner for a grant."
        return error

    patch.setattr(authorise, "not_available", telling)


def _open_lists(patch: pytest.MonkeyPatch) -> None:
    """Nothing is on no list: nodes, functions, names and sizes are not looked at."""
    for name in ("_nodes", "_names", "_sizes", "_depth"):
        assert hasattr(admission, name)
        patch.setattr(admission, name, lambda *_: None)
    patch.setattr(duck, "check_functions", lambda *_, **__: None)


def _two_statements(patch: pytest.MonkeyPatch) -> None:
    """The first of several statements is taken, and what cannot be read is cut off."""
    honest = admission._one_statement

    def first(text: str) -> Any:
        return honest(text.split(";")[0])

    patch.setattr(admission, "_one_statement", first)


def _native_text(patch: pytest.MonkeyPatch) -> None:
    """What is not admitted goes to the source as it is, and its answer comes back."""
    honest = fragment.FragmentRun._prepare

    def native(self: Any) -> None:
        try:
            honest(self)
        except CityError:
            from tests.attack.world import PEOPLE_ROWS

            texts = [str(r) for r in PEOPLE_ROWS]
            self._table = pa.table({"c0": texts})
            self.schema = self._table.schema

    patch.setattr(fragment.FragmentRun, "_prepare", native)


def _any_audience(patch: pytest.MonkeyPatch) -> None:
    honest = TokenVerifier._principal

    def principal(self: Any, claims: Any) -> Principal:
        return honest(self, {**claims, "aud": self.audience})

    patch.setattr(TokenVerifier, "_principal", principal)


def _any_signer(patch: pytest.MonkeyPatch) -> None:
    """The token's claims are read, its signature is not."""
    import base64

    import orjson

    def verify(self: Any, token: str, now: float | None = None) -> Principal:
        try:
            part = token.split(".")[1]
            claims = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            found: Principal = self._principal(claims)
        except (IndexError, ValueError, TypeError, AttributeError):
            raise self._invalid() from None
        return found

    patch.setattr(TokenVerifier, "verify", verify)


class _Forgetful:
    """A replay store that remembers nothing."""

    def claim(self, *_: Any) -> bool:
        return True


def _no_replay_store(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(identity.SqliteReplayStore, "claim", _Forgetful.claim)


def _unsigned_requests(patch: pytest.MonkeyPatch) -> None:
    """The token is enough: who carries it may ask."""
    from connectors.agent import server

    patch.setattr(server, "verify_request", lambda *_, **__: None)


def _verdicts_of_withheld_rows(patch: pytest.MonkeyPatch) -> None:
    """Verify looks below the row filter."""

    def unfiltered(*arguments: Any, **named: Any) -> Any:
        found = enforce(*arguments, **named)
        return replace(found, native=replace(found.native, row_filters=()))

    patch.setattr(fragment, "enforce", unfiltered)


BUILDS: dict[str, tuple[Build, tuple[str, ...]]] = {
    "decisions ignore purposes": (_decisions_ignore_purposes, ("decisions",)),
    "names compare without case": (_names_without_case, ("decisions",)),
    "grants never end": (_grants_never_end, ("decisions",)),
    "an explicit denial is overlooked": (_denials_are_overlooked, ("decisions",)),
    "no row filter": (_without_row_filter, ("order",)),
    "verify looks below the filter": (_verdicts_of_withheld_rows, ("decisions", "outcomes")),
    "a mask is forgotten": (_a_forgotten_mask, ("masks",)),
    "masks in the outermost projection": (_masks_in_the_outermost_projection, ("masks", "order")),
    "raw predicates pushed below masks": (_raw_predicates_below_masks, ("masks",)),
    "raw bind keys pushed below masks": (_raw_keys_below_masks, ("masks",)),
    "LIMIT in the silo's own order": (_rows_in_the_silos_order, ("order",)),
    "the engine's error text is passed on": (_errors_with_values, ("order", "outcomes")),
    "refusals differ": (_refusals_that_differ, ("outcomes",)),
    "open lists": (_open_lists, ("admission",)),
    "the first of several statements": (_two_statements, ("admission",)),
    "native text is run": (_native_text, ("decisions", "admission")),
    "any audience": (_any_audience, ("identity",)),
    "any signer": (_any_signer, ("identity",)),
    "no replay store": (_no_replay_store, ("identity",)),
    "requests are not signed": (_unsigned_requests, ("identity",)),
}
"""Name -> (how it is made, the classes of cases that must notice)."""
