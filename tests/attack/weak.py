"""Agents with one fault each, to prove that the suite can fail: each replaces one function of an honest agent.

    with weakened("masks in the outermost projection", monkeypatch): ...

The seams are those that a reviewer would look at first: admission, decision, enforcement, push-down, errors, tokens,
replay. A seam that is gone makes the test fail, not pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlglot import exp

from catalog import duck, identity, policy
from catalog.errors import CityError, InternalError, Outcome
from catalog.exchange import sha256
from catalog.identity import Principal, TokenVerifier
from catalog.policy import checks, families
from connectors.agent import admit as admission
from connectors.agent import aggregate, authorise, disclosure, fragment, mark, plan, pushdown
from connectors.agent.authorise import Access, Governed
from connectors.agent.budget import Budget
from connectors.agent.enforce import enforce

__all__ = ["BUILDS", "GUARDS", "SUMS", "Build"]

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


# ---- the guard against differencing -------------------------------------------------------------------------


def _sums_are_not_followed(patch: pytest.MonkeyPatch) -> None:
    """Only who was counted is remembered, as if every grant's sums were the only ones."""
    patch.setattr(disclosure.Terrain, "measure", lambda *_: None)


def _changed_amounts_are_the_same(patch: pytest.MonkeyPatch) -> None:
    """Who has something in two crowds is taken to have the same in both."""
    honest = disclosure._steps

    def level(matrix: Any, *_: Any) -> Any:
        return honest(np.where(matrix > 0, matrix.max(axis=1, keepdims=True), 0.0))

    patch.setattr(disclosure, "_steps", level)


def _small_parts_are_no_changes(patch: pytest.MonkeyPatch) -> None:
    """Amounts are compared by their first digits."""
    honest = disclosure._steps

    def coarse(matrix: Any, *_: Any) -> Any:
        unit = 10 ** np.floor(np.log10(np.where(matrix > 0, matrix, 1)))
        return honest(np.round(matrix / unit, 6) * unit)

    patch.setattr(disclosure, "_steps", coarse)


def _cells_come_and_go(patch: pytest.MonkeyPatch) -> None:
    """Which cells an answer has is decided anew each time."""
    patch.setattr(disclosure, "_shows_few", lambda *_: False)


def _cells_come_in_other_words(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disclosure.Guard, "_still_absent", lambda self, family, crowd, ask: ask)


def _noise_of_each_union(patch: pytest.MonkeyPatch) -> None:
    """One draw for all base cells of a cell: each way to put them together is another try."""

    def drawn(self: Any, what: str, cell: Any, scale: float) -> float:
        return float(self._draw(what, " ".join(sorted(cell[aggregate.PLACES])), scale))

    patch.setattr(aggregate.Noise, "_drawn", drawn)


def _old_answers_on_any_terms(patch: pytest.MonkeyPatch) -> None:
    honest = aggregate.Contributions.ask

    def ask(self: Any, shape: Any, *rest: Any) -> Any:
        return replace(honest(self, shape, *rest), asked=sha256(shape.canonical()))

    patch.setattr(aggregate.Contributions, "ask", ask)


def _another_epoch_forgets(patch: pytest.MonkeyPatch) -> None:
    """What was told under a grant with another epoch is forgotten with the asker's."""
    honest = disclosure.Guard._forget

    def forget(self: Any, ask: Any, crowd: str, epochs: Any) -> None:
        honest(self, ask, crowd, frozenset({ask.epoch_name}))

    patch.setattr(disclosure.Guard, "_forget", forget)


def _the_newest_rule_of_dominance(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disclosure, "_strictest", lambda rules: next(iter(rules)).dominance)


def _the_lowest_floor_for_all(patch: pytest.MonkeyPatch) -> None:
    honest = disclosure.Field._with

    def with_lowest(self: Any, answer: Any, known: bool = False) -> Any:
        lowest = min(k for _, k in self._spaces)
        self._spaces = {key: space for key, space in self._spaces.items() if key[1] == lowest}
        return honest(self, answer, known)

    patch.setattr(disclosure.Field, "_with", with_lowest)


def _published_names(patch: pytest.MonkeyPatch) -> None:
    """Columns of two relations are the same where their published names are."""

    def meaning(spec: Any, column: str) -> str:
        return f"{column}: {spec.columns[column].type}"

    for module in (families, aggregate):
        patch.setattr(module, "meaning", meaning)


def _any_policy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checks, "_family_faults", lambda *_: ())
    patch.setattr(checks, "_dimension_faults", lambda *_: ())


def _base_cells_follow_the_data(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disclosure.Guard, "steady", lambda self, family, epoch, merge: merge(None))


def _anybodys_base_cells(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(aggregate, "same_small_cells", lambda *_: True)


def _one_draw_for_all_scales(patch: pytest.MonkeyPatch) -> None:
    honest = aggregate.Noise._draw
    patch.setattr(aggregate.Noise, "_draw", lambda self, what, place, scale: honest(self, what, place, 1.0) * scale)


def _noise_of_each_grant(patch: pytest.MonkeyPatch) -> None:
    """A cell is named by the asker's own dimensions."""
    patch.setattr(aggregate.Contributions, "_base_columns", lambda self: [
        f'"{d}"' for d in self._relation.decision.dimensions])  # fmt: skip


def _averages_of_true_counts(patch: pytest.MonkeyPatch) -> None:
    honest = aggregate.Noise.added

    def added(self: Any, cell: Any, shape: Any) -> Any:
        return {**honest(self, cell, shape), **{k: v for k, v in cell.items() if k[0] == "k"}}

    patch.setattr(aggregate.Noise, "added", added)


def _the_last_published_name(patch: pytest.MonkeyPatch) -> None:
    honest = aggregate._predicates

    def predicates(node: Any, alias: str, relation: Governed, dimensions: Any) -> Any:
        found = honest(node, alias, relation, dimensions)
        last = {relation.raw(c): c for c in dimensions}
        return found and tuple(replace(p, column=last[relation.raw(p.column)]) for p in found)

    patch.setattr(aggregate, "_predicates", predicates)


def _cells_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Budget, "charge_cells", lambda *_: None)


def _a_deleted_history_is_a_new_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(disclosure.Guard, "expect", lambda *_: None)


def _any_copy_of_the_history(patch: pytest.MonkeyPatch) -> None:
    """Which file it is counts, and not how old it is."""
    patch.setattr(mark.Witness, "is_met", lambda self, by: by.name == self.mark.name)


def _budgets_that_are_gone_are_whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Budget, "expect", lambda *_: None)


def _sums_in_the_silos_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(aggregate, "_sum", lambda sql, _: f"sum({sql})")


GUARDS: dict[str, tuple[Build, str]] = {
    "sums are not followed": (_sums_are_not_followed, "trackers"),
    "sums of two grants apart": (_sums_are_not_followed, "sums_of_two_grants_are_held_against_each_other"),
    "changed amounts are the same": (_changed_amounts_are_the_same, "trackers"),
    "small parts are no changes": (_small_parts_are_no_changes, "a_small_part_of_an_amount_is_a_change"),
    "cells come and go": (_cells_come_and_go, "a_cell_that_crosses_the_floor_does_not_show_before_the_next_epoch"),
    "cells come in other words": (
        _cells_come_in_other_words, "a_cell_that_crosses_the_floor_does_not_show_before_the_next_epoch",
    ),
    "noise of each union": (_noise_of_each_union, "the_noise_of_a_sum_is_that_of_its_parts"),
    "an old answer on any terms": (_old_answers_on_any_terms, "an_old_answer_is_given_again_on_the_same_terms_alone"),
    "another epoch forgets": (_another_epoch_forgets, "an_answer_binds_until_the_epoch_of_its_own_grant_ends"),
    "the newest rule of dominance": (_the_newest_rule_of_dominance, "the_strictest_rule_of_dominance_holds_for_all"),
    "the lowest floor for all": (_the_lowest_floor_for_all, "trackers"),
    "columns by their published names": (_published_names, "columns_are_known_by_what_the_source_calls_them"),
    "any policy": (_any_policy, "a_policy_whose_sums_cannot_be_held_together_is_refused"),
    "base cells follow the data": (
        _base_cells_follow_the_data, "without_small_cells_a_base_cell_stays_until_many_changed",
    ),
    "anybody's base cells": (_anybodys_base_cells, "a_grant_beside_base_cells_that_would_leave_out_others_is_refused"),
    "one draw for all scales": (_one_draw_for_all_scales, "another_scale_is_another_draw"),
    "noise of each grant": (_noise_of_each_grant, "two_grants_draw_the_same_noise"),
    "averages of true counts": (_averages_of_true_counts, "the_noise_of_a_count_is_in_averages_too"),
    "the last published name": (_the_last_published_name, "two_published_columns_of_one_raw_column_are_told_apart"),
    "a deleted history is a new one": (
        _a_deleted_history_is_a_new_one, "sums_wait_for_their_owner_where_the_history_is_gone",
    ),
    "any copy of the history": (_any_copy_of_the_history, "an_older_copy_of_the_history_is_none"),
    "budgets that are gone are whole": (
        _budgets_that_are_gone_are_whole, "budgets_that_are_gone_are_used_up_for_that_day",
    ),
    "cells are not counted": (_cells_are_not_counted, "an_answer_with_more_cells_than_are_left_does_not_leave"),
    "sums in the silo's order": (
        _sums_in_the_silos_order, "sums_of_floating_numbers_do_not_depend_on_the_order_of_rows",
    ),
}  # fmt: skip
"""Name -> (how it is made, the test of `tests.agent.test_guard` that must notice, or the trackers of two grants)."""


# ---- sums and checks ------------------------------------------------------------------------------------------


def _clauses_are_overlooked(patch: pytest.MonkeyPatch) -> None:
    """What the shape of a sum has no place for is left out, not refused."""
    honest = aggregate.read_shape

    def lenient(tree: Any, *rest: Any) -> Any:
        for clause in ("having", "order", "limit", "distinct", "offset"):
            tree.set(clause, None)
        return honest(tree, *rest)

    patch.setattr(aggregate, "read_shape", lenient)


def _sums_below_a_query(patch: pytest.MonkeyPatch) -> None:
    """Whatever stands around it, the innermost SELECT is what is answered."""
    honest, relation_of = aggregate.read_shape, aggregate.aggregate_relation

    def innermost(tree: Any) -> Any:
        return list(tree.find_all(exp.Select))[-1]

    patch.setattr(aggregate, "aggregate_relation", lambda tree, access: relation_of(innermost(tree), access))
    patch.setattr(aggregate, "read_shape", lambda tree, *rest: honest(innermost(tree), *rest))


def _with_decision(patch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Cells are released under other terms than were granted."""
    honest = aggregate.release

    def release(shape: Any, *rest: Any, **named: Any) -> Any:
        decision = replace(shape.relation.decision, **changes)
        return honest(replace(shape, relation=replace(shape.relation, decision=decision)), *rest, **named)

    patch.setattr(aggregate, "release", release)


def _no_floor(patch: pytest.MonkeyPatch) -> None:
    _with_decision(patch, min_group=0)


def _floors_count_lines(patch: pytest.MonkeyPatch) -> None:
    honest = aggregate.release

    def release(shape: Any, cells: pa.Table, *rest: Any, **named: Any) -> Any:
        place = cells.schema.get_field_index("entities")
        return honest(shape, cells.set_column(place, "entities", cells.column("n")), *rest, **named)

    patch.setattr(aggregate, "release", release)


def _no_dominance(patch: pytest.MonkeyPatch) -> None:
    _with_decision(patch, largest_share=None, p_percent=None)


def _no_guard(patch: pytest.MonkeyPatch) -> None:
    """The floor alone."""
    patch.setattr(disclosure.Guard, "release", lambda self, ask: disclosure.Given(ask.question))


def _no_complements(patch: pytest.MonkeyPatch) -> None:
    """Of an answer of many cells only the small ones are withheld."""
    honest = disclosure.Guard.release

    def release(self: Any, ask: Any) -> Any:
        return disclosure.Given(ask.question) if len(ask.question.cells) > 1 else honest(self, ask)

    patch.setattr(disclosure.Guard, "release", release)


def _each_user_alone(patch: pytest.MonkeyPatch) -> None:
    """The history is each user's own, as if they did not talk to each other."""
    contributed, release = fragment.FragmentRun._contributed, disclosure.Guard.release
    asking: list[str] = []

    def known(self: Any, *rest: Any) -> Any:
        asking.append(self.principal.sub)
        return contributed(self, *rest)

    patch.setattr(fragment.FragmentRun, "_contributed", known)
    patch.setattr(disclosure.Guard, "release", lambda self, ask: release(
        self, replace(ask, family=f"{ask.family} of {asking[-1]}")))  # fmt: skip


def _noise_anew(patch: pytest.MonkeyPatch) -> None:
    """Each answer draws its own noise: many of them average out."""
    honest = aggregate.Contributions.noise
    drawn = iter(range(10**9))
    patch.setattr(aggregate.Contributions, "noise", lambda self, epoch: honest(self, f"{epoch} {next(drawn)}"))


def _charges(patch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Checks are charged with other arguments."""
    honest = Budget.charge
    names = ("relation", "user", "claims", "subjects", "per_day", "per_subject", "now")

    def charge(self: Any, *given: Any) -> None:
        honest(self, **change(dict(zip(names, given, strict=True))))

    patch.setattr(Budget, "charge", charge)


def _any_number_of_checks(patch: pytest.MonkeyPatch) -> None:
    _charges(patch, lambda given: given | {"per_day": 10**9})


def _any_number_a_subject(patch: pytest.MonkeyPatch) -> None:
    _charges(patch, lambda given: given | {"per_subject": 10**9})


def _subjects_of_each_user(patch: pytest.MonkeyPatch) -> None:
    """The checks of a subject are counted apart for each who asks."""
    _charges(patch, lambda given: given | {"subjects": [f"{given['user']} {s}" for s in given["subjects"]]})


def _questions_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Budget, "charge_sums", lambda *_: None)


def _literals_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    honest = Budget.charge_sums
    patch.setattr(Budget, "charge_sums", lambda self, asked, _, *rest: honest(self, asked, 0, *rest))


SUMS: dict[str, tuple[Build, str, str]] = {
    "clauses are overlooked": (_clauses_are_overlooked, "shapes", "groups that hold a condition"),
    "sums below a query": (_sums_below_a_query, "shapes", "above a subquery"),
    "no floor": (_no_floor, "floors", "a small ward"),
    "floors count lines": (_floors_count_lines, "floors", "two people with many lines"),
    "no dominance": (_no_dominance, "dominance", "a ward with a giant"),
    "no complements": (_no_complements, "complements", "wards after their district"),
    "no guard": (_no_guard, "trackers", "all but few"),
    "the guard knows no more than one user": (_each_user_alone, "collusion", "one asks for all and another for most"),
    "noise anew": (_noise_anew, "averaging", "asked by its wards"),
    "any number of checks": (_any_number_of_checks, "claims", "a ninth guess"),
    "any number of checks of a subject": (_any_number_a_subject, "claims", "a sixth guess at one subject"),
    "subjects are each user's own": (_subjects_of_each_user, "claims", "a sixth guess by another"),
    "questions are not counted": (_questions_are_not_counted, "budgets", "a seventh question"),
    "cells are not counted": (_cells_are_not_counted, "budgets", "more cells than are left"),
    "literals are not counted": (_literals_are_not_counted, "budgets", "too many literals at once"),
}
"""Name -> (how it is made, the class that is there for it, the case that must notice)."""
