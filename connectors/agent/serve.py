"""Run one department's agent: `python -m connectors.agent.serve department.yaml`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from catalog.imports import do_without
from catalog.keys import KeyFileError
from catalog.ledger import LedgerError
from connectors.agent.server import serve
from connectors.base import SourceError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal. Returns 0, or 1 with one clear line on stderr for what the agent cannot open."""
    parser = argparse.ArgumentParser(prog="atoll agent serve", description=__doc__)
    parser.add_argument("policy", help="department.yaml")
    parser.add_argument(
        "--behind-tls-proxy", action="store_true", help="something in front ends TLS: plain HTTP may leave this machine"
    )
    parser.add_argument("--owners", type=Path, default=os.environ.get("ATOLL_OWNERS") or None,
                        help="public keys (JWK set) of those who sign the policy")  # fmt: skip
    arguments = parser.parse_args(argv)
    try:
        serve(arguments.policy, arguments.behind_tls_proxy, arguments.owners)
    except (KeyFileError, LedgerError, SourceError, ValueError, OSError) as bad:
        print(f"the agent cannot start: {bad}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    do_without("pandas")
    sys.exit(main())
