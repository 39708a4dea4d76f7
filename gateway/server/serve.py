"""Run a gateway: `python -m gateway.server.serve gateway.yaml`, or `atoll gateway serve gateway.yaml`.

Beyond this machine it speaks TLS, or stands behind something that does: users send it their tokens.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from catalog.ending import ended_in_order
from catalog.identity import client_assertion
from catalog.imports import do_without
from catalog.keys import KeyFileError
from catalog.memory import forbid_dumps, give_back, settled
from catalog.tls import is_loopback
from gateway.pipeline import Gateway
from gateway.server.app import create_app
from gateway.server.oauth import OAuth
from gateway.server.session import Options
from gateway.server.wire import KEEP_ALIVE_SECONDS, Wire
from gateway.settings import GatewaySettings, load

__all__ = ["main", "serve"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal. Returns 0, or 1 with one clear line per fault of the settings on stderr."""
    parser = argparse.ArgumentParser(prog="atoll gateway serve", description=__doc__)
    parser.add_argument("settings", help="gateway.yaml")
    parser.add_argument("--allow-dev-login", action="store_true", help="accept the demo's door without passwords")
    parser.add_argument("--tls-cert", type=Path, help="PEM file of the gateway's certificate and its chain")
    parser.add_argument("--tls-key", type=Path, help="PEM file of its key, if not in the same file")
    parser.add_argument(
        "--behind-tls-proxy", action="store_true", help="something in front ends TLS: plain HTTP may leave this machine"
    )
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
    if arguments.tls_cert:
        given = {"certificate": arguments.tls_cert, "certificate_key": arguments.tls_key}
        settings = settings.model_copy(update=given)
    host = settings.listen.rpartition(":")[0]
    if not (settings.certificate or arguments.behind_tls_proxy or is_loopback(host)):
        print(
            f"`listen: {settings.listen}` is plain HTTP on an address that others reach, and users send their tokens "
            "there. Give --tls-cert and --tls-key, or end TLS in front and say --behind-tls-proxy.",
            file=sys.stderr,
        )
        return 1
    try:
        serve(settings)
    except (KeyFileError, OSError) as bad:
        print(f"the gateway cannot start: {bad}", file=sys.stderr)
        return 1
    return 0


def serve(settings: GatewaySettings) -> None:
    """Serve the gateway on its address until a signal."""
    forbid_dumps()
    give_back()
    host, _, port = settings.listen.rpartition(":")
    gateway = Gateway(settings)
    options = Options(
        admins=frozenset(settings.admins),
        questions=settings.questions,
        environment=settings.environment,
        version=settings.version,
        require_tls=settings.require_tls,
        spool=settings.state / "spool",
        oauth=_oauth(gateway),
    )
    try:
        app = create_app(gateway, options)
        with ended_in_order(), settled():
            uvicorn.run(
                app,
                host=host.strip("[]"),
                port=int(port),
                log_level="warning",
                access_log=False,
                server_header=False,
                http=Wire,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=2,
                ssl_certfile=settings.certificate,
                ssl_keyfile=str(settings.certificate_key) if settings.certificate_key else None,
            )
    finally:
        gateway.close()


def _oauth(gateway: Gateway) -> OAuth | None:
    """How users log in with their browser, if the identity provider has a page for that."""
    identity = gateway.settings.identity
    if not identity.authorize_url:
        return None

    def assertion() -> str:
        return client_assertion(gateway.key.signing(), identity.client_id, identity.token_url)

    return OAuth(identity.authorize_url, identity.token_url, identity.client_id, assertion, ca=identity.ca)


if __name__ == "__main__":
    do_without("pandas")
    sys.exit(main())
