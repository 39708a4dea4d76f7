"""Authorisation: every relation of an admitted tree is resolved and decided from the department's own policy.

Unknown and ungranted are one case: the same error, text and code path. What a relation shows is its
governed columns, masks already in their types; nothing else of it exists for the stages that follow.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlglot import exp

from catalog import masks
from catalog.errors import AccessDenied, Outcome, TrinoError
from catalog.identity import Principal
from catalog.masks import Mask
from catalog.names import MAIN
from catalog.policy import Decision, Department, RelationSpec, decide, purposes_for
from catalog.relation import Mode
from catalog.types import TrinoType
from connectors.agent.synthetic import STAND_IN, blinded

__all__ = ["Access", "Governed", "not_available"]


@dataclass(frozen=True)
class Governed:
    """One relation as one user may see it now. columns: name -> published type. masks: name -> mask.

    spec: the policy's, or what takes the place of its source: generated rows, or the agent's own copy.
    above: kinds of masks whose predicates never go to the source (the owner's `limits.keep_above`).
    """

    name: str
    spec: RelationSpec
    decision: Decision
    columns: Mapping[str, TrinoType]
    masks: Mapping[str, Mask] = field(default_factory=dict)
    above: tuple[str, ...] = ()

    def raw(self, column: str) -> str:
        """The source's own name of a published column."""
        return self.spec.columns[column].from_ or column

    @property
    def mode(self) -> Mode:
        return self.decision.mode

    @property
    def hides(self) -> bool:
        """Whether anything of the relation is kept back: then the order of its rows may tell what."""
        return bool(self.masks or self.decision.filters or len(self.columns) < len(self.spec.columns))


Copied = Callable[[str, Decision, datetime], RelationSpec | None]
"""The relation as the agent's own copy holds it, where that answers under a decision at a moment; else None."""


class Access:
    """What one principal may see of a department at one moment: decisions, made once and remembered."""

    def __init__(
        self,
        department: Department,
        context: masks.Context,
        principal: Principal,
        now: datetime,
        copied: Copied = lambda *_: None,
    ) -> None:
        self.department = department
        self.principal = principal
        self.now = now
        self._context = context
        self._copied = copied
        self._found: dict[str, Governed | None] = {}

    def governed(self, name: str) -> Governed | None:
        """The relation under the principal's purpose, None if it is unknown or not granted."""
        if name not in self._found:
            decision = self._decide(name)
            self._found[name] = None if decision is None else self._govern(name, decision)
        return self._found[name]

    def _decide(self, name: str) -> Decision | None:
        return decide(self.department, self.principal.sub, self.principal.purpose, name, self.now)

    @property
    def decided(self) -> dict[str, Governed | None]:
        """Every relation that was decided so far."""
        return dict(self._found)

    def decides_as(self, known: Mapping[str, Governed | None]) -> bool:
        """Whether these relations of the same policy are decided now as they were; then they are governed as they were.

        A governed relation is a function of policy, decision, which holds the purpose, and what stands for its source.
        """
        for name, governed in known.items():
            if self._decide(name) != (None if governed is None else governed.decision):
                return False
            if governed is not None and self._spec(name, governed.decision).source != governed.spec.source:
                return False
            self._found[name] = governed
        return True

    def _spec(self, name: str, decision: Decision) -> RelationSpec:
        """What the policy says of the relation, with what answers in place of its source."""
        spec = self.department.relations[name]
        if decision.mode in (Mode.schema, Mode.synthetic):
            # From here on there is no silo behind the relation that anything could ask.
            return spec.model_copy(update={"source": STAND_IN, "table": name, "view": "", "rows": None})
        return self._copied(name, decision, self.now) or spec

    def resolve(self, node: exp.Table) -> Governed:
        """The relation that a table node names. Raises NOT_AVAILABLE or PURPOSE."""
        catalog = node.args.get("catalog")
        db = node.args.get("db")
        name = node.name.lower()
        own = catalog is None or catalog.name.lower() == self.department.department
        if not own or (db is not None and db.name.lower() != MAIN):
            raise self._unavailable(node)
        return self.named(name, node)

    def named(self, name: str, node: exp.Expr | None = None) -> Governed:
        """The relation by its bare name. Raises NOT_AVAILABLE or PURPOSE."""
        found = self.governed(name)
        if found is not None:
            return found
        others = purposes_for(self.department, self.principal.sub, self.principal.purposes, name, self.now)
        if others:
            raise AccessDenied(
                f"{name} is granted to you for another purpose than {self.principal.purpose}.",
                Outcome.PURPOSE,
                who=self.department.department,
                rule="purpose",
                hint=f"Ask again with --purpose {' or '.join(others)}.",
            )
        raise self._unavailable(node, name)

    def visible(self) -> dict[str, Governed]:
        """Every relation that is granted under the principal's purpose."""
        found = {name: self.governed(name) for name in self.department.relations}
        return {name: g for name, g in found.items() if g is not None}

    def other_purposes(self) -> dict[str, tuple[str, ...]]:
        """Relations not granted now -> the principal's own purposes for which they are."""
        result = {}
        for name in self.department.relations:
            if self.governed(name) is None:
                others = purposes_for(self.department, self.principal.sub, self.principal.purposes, name, self.now)
                if others:
                    result[name] = others
        return result

    def _govern(self, name: str, decision: Decision) -> Governed:
        spec, masking = self._spec(name, decision), self._context
        if spec.source == STAND_IN:
            masking = blinded(masking)
        found: dict[str, Mask] = {}
        columns: dict[str, TrinoType] = {}
        for column in decision.columns:
            kind = spec.columns[column].type
            texts = decision.masks.get(column, ())
            if texts:
                context = replace(masking, column=column)
                mask = masks.strictest([masks.build(t, kind, context) for t in texts])
                found[column] = mask
                kind = mask.type
            columns[column] = kind
        found = masks.together(found, columns)
        columns |= {c: m.type for c, m in found.items()}
        return Governed(name, spec, decision, columns, found, self.department.limits.keep_above)

    def _unavailable(self, node: exp.Expr | None, name: str = "") -> AccessDenied:
        asked = name or (node.name.lower() if node is not None else "")
        near = difflib.get_close_matches(asked, [n for n in self.visible() if n != asked], n=1, cutoff=0.75)
        return not_available(asked, self.department.department, near[0] if near else "")


def not_available(name: str, department: str, near: str = "") -> AccessDenied:
    """The one refusal for what does not exist and for what is not granted."""
    return AccessDenied(
        f"Table {department}.{MAIN}.{name} does not exist.",
        Outcome.NOT_AVAILABLE,
        trino=TrinoError.TABLE_NOT_FOUND,
        who=department,
        rule="no grant",
        hint=f"Did you mean {near}?" if near else "",
    )
