"""Run a gateway: `python -m gateway.server.serve gateway.yaml`, or `atoll gateway serve gateway.yaml`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import uvicorn

from gateway.pipeline import Gateway
from gateway.server.app import create_app
from gateway.server.session import Options
from gateway.settings import GatewaySettings, load

__all__ = ["main", "serve"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal. Returns 0, or 1 with one clear line per fault of the settings on stderr."""
    parser = argparse.ArgumentParser(prog="atoll gateway serve", description=__doc__)
    parser.add_argument("settings", help="gateway.yaml")
    parser.add_argument("--allow-dev-login", action="store_true", help="accept the demo's door without passwords")
    arguments = parser.parse_args(argv)
    try:
        settings = load(arguments.settings)
    except (OSError, ValueError) as bad:
        print(bad, file=sys.stderr)
        return 1
    if settings.identity.dev_login and not arguments.allow_dev_login:
        print(
            "gateway.yaml opens identity.dev_login, a door without passwords: only `atoll demo` may. Remove it.",
            file=sys.stderr,
        )
        return 1
    serve(settings)
    return 0


def serve(settings: GatewaySettings) -> None:
    """Serve the gateway on its address until a signal."""
    host, _, port = settings.listen.rpartition(":")
    gateway = Gateway(settings)
    options = Options(
        admins=frozenset(settings.admins),
        questions=settings.questions,
        environment=settings.environment,
        version=settings.version,
    )
    try:
        uvicorn.run(
            create_app(gateway, options),
            host=host.strip("[]"),
            port=int(port),
            log_level="warning",
            server_header=False,
            h11_max_incomplete_event_size=1 << 20,
            timeout_graceful_shutdown=2,
            ssl_certfile=settings.certificate,
            ssl_keyfile=str(settings.certificate_key) if settings.certificate_key else None,
        )
    finally:
        gateway.close()


if __name__ == "__main__":
    sys.exit(main())
