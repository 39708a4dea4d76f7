"""department.yaml: what one department serves, to whom, for which purpose, how masked, how much.

`Department` is the file; `decide` turns it, a user and a purpose into a `Decision` per relation. It is
a pure function: same policy, same question, same answer. Everything unknown is an error when the file
is loaded; everything not granted is a denial when a query comes.

    load(path) -> Department             reads and checks a file; PolicyError lists every fault in words
    decide(department, question) -> Decision | None
    purposes_for(department, sub, purposes, relation, now) -> those of the user's own that have a grant

    models.py     the keys of the file           reading.py   text -> Department, or faults with their lines
    checks.py     whether the parts fit          testing.py   the tests that ship with a policy
    deciding.py   the decision                   changes.py   two policies compared, in words
    synthetic.py  values of generated rows            delegation.py  whether grants are given on as far as allowed
    amending.py   a grant more in the text
    bundle.py     all files that decide          signing.py   signatures of two owners over all of them
"""

from __future__ import annotations

from catalog.policy.amending import with_grant
from catalog.policy.bundle import Bundle, Stamp, read_bundle, signed_name, stamp
from catalog.policy.changes import ANYONE, Change, changes, people
from catalog.policy.checks import check, dry_context, view_files
from catalog.policy.deciding import Decision, decide, instant, opening, purposes_for
from catalog.policy.faults import REASONS, Fault, PolicyError, nearest
from catalog.policy.hierarchies import parse_hierarchy, read_hierarchy
from catalog.policy.models import (
    ClassRule,
    ColumnSpec,
    Department,
    Fit,
    Grant,
    GrantMode,
    Identity,
    Limits,
    LinkageGroup,
    PolicyTest,
    Project,
    RelationSpec,
    StandIn,
    Synthetic,
)
from catalog.policy.reading import digest, from_bundle, load, parse
from catalog.policy.signing import (
    SIGNERS,
    Owners,
    Seal,
    countersigned,
    read_owners,
    signed,
    verify_seal,
)
from catalog.policy.testing import failures, shown_masks, words_of

__all__ = [
    "ANYONE",
    "REASONS",
    "SIGNERS",
    "Bundle",
    "Change",
    "ClassRule",
    "ColumnSpec",
    "Decision",
    "Department",
    "Fault",
    "Fit",
    "Grant",
    "GrantMode",
    "Identity",
    "Limits",
    "LinkageGroup",
    "Owners",
    "PolicyError",
    "PolicyTest",
    "Project",
    "RelationSpec",
    "Seal",
    "Stamp",
    "StandIn",
    "Synthetic",
    "changes",
    "check",
    "countersigned",
    "decide",
    "digest",
    "dry_context",
    "failures",
    "from_bundle",
    "instant",
    "load",
    "nearest",
    "opening",
    "parse",
    "parse_hierarchy",
    "people",
    "purposes_for",
    "read_bundle",
    "read_hierarchy",
    "read_owners",
    "shown_masks",
    "signed",
    "signed_name",
    "stamp",
    "verify_seal",
    "view_files",
    "with_grant",
    "words_of",
]
