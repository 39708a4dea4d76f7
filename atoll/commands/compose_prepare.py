"""Prepares the containers of docker-compose.yml: `python -m atoll.commands.compose_prepare prepare | fill`.

    prepare   makes the data, every department's folder, all keys and the databases' passwords
    fill      loads PostgreSQL and MariaDB once they run, and makes the user by which an agent reads them

Both stand for people: only they see more than one department's volume, and they end before anything serves.
ATOLL_CITY in the environment holds the addresses, as `name=host:port` separated by blanks: `gateway`,
`identity`, `register`, each department, each `<department>-owner`, `water-db` and `market-db`. What is
there already stays: a second start makes no new key and loads nothing again.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from atoll.city import Config, generate, load_servers
from atoll.city.signing import check_heat_calendar
from atoll.commands.agent import load_department, receipt_key
from atoll.demo.databases import READER
from atoll.demo.install import DEPARTMENTS, Ports, install_department, install_gateway, install_identity
from atoll.demo.launch import questions_folder

__all__ = ["main"]

IN_DATABASES = {"water": "postgres", "market": "mysql"}
"""Departments whose silo is a database server: its kind in department.yaml."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m atoll.commands.compose_prepare", description=__doc__)
    parser.add_argument("step", choices=("prepare", "fill"))
    parser.add_argument("--work", type=Path, required=True, help="where the data is made; holds the answer key")
    parser.add_argument("--city", type=Path, required=True, help="under it, every department's volumes")
    parser.add_argument("--bind", default="0.0.0.0", help="what agents and gateway listen on")
    parser.add_argument("--scale", default="small")
    parser.add_argument("--seed", type=int, default=4499)
    options = parser.parse_args(arguments)
    addresses = dict(pair.split("=", 1) for pair in os.environ["ATOLL_CITY"].split())
    if options.step == "prepare":
        prepare(Config(options.seed, options.scale), options.work, options.city, addresses, options.bind)
    else:
        fill(options.work, options.city, addresses)


# ---------------------------------------------------------------- before anything runs


def prepare(config: Config, work: Path, city: Path, addresses: dict[str, str], bind: str) -> None:
    """Data, folders, keys and passwords. addresses: name -> host:port."""
    if not (work / "manifest.json").exists():
        generate(config, work, lambda name: print(f"made {name}", flush=True))
    silos = work / "silos"
    check_heat_calendar(
        silos / "health" / "health.db",
        silos / "health" / "heat_calendar.sig",
        silos / "environment" / "heat_calendar.pub",
    )
    ports = _ports(addresses, bind)
    install_identity(city)
    registered: dict[str, tuple[str, dict[str, Any]]] = {}
    contacts: dict[str, str] = {}
    for name in DEPARTMENTS:
        if name in IN_DATABASES:
            _secret(city / "secrets" / name / "owner")
            password = _secret(city / "departments" / name / "source.password")
            file = install_department(name, city, config, ports, _source(name, addresses), password)
        else:
            shutil.copytree(silos / name, city / "silos" / name, dirs_exist_ok=True)
            file = install_department(name, city, config, ports)
        department = load_department(file)
        registered[name] = (department.title, receipt_key(file, department).public_jwk)
        contacts[name] = department.answers
        print(f"installed {name}", flush=True)
    install_gateway(city, ports, registered, questions_folder(), contacts)


def _ports(addresses: dict[str, str], bind: str) -> Ports:
    def port(name: str) -> int:
        return int(addresses[name].rsplit(":", 1)[1])

    return Ports(
        gateway=port("gateway"),
        idp=port("identity"),
        register=port("register"),
        agents={name: port(name) for name in DEPARTMENTS},
        owners={name: port(f"{name}-owner") for name in DEPARTMENTS},
        hosts={name: addresses[name].rsplit(":", 1)[0] for name in ("register", *DEPARTMENTS)},
        bind=bind,
    )


def _source(name: str, addresses: dict[str, str]) -> dict[str, Any]:
    host, port = addresses[f"{name}-db"].rsplit(":", 1)
    return {"kind": IN_DATABASES[name], "host": host, "port": int(port), "database": name, "user": READER}


def _secret(file: Path) -> str:
    """The password in a file; a new one if there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text(secrets.token_urlsafe(24))
        # Database images read it as a user of their own; the volume is the database's alone.
        file.chmod(0o644 if file.name == "owner" else 0o600)
    return file.read_text()


# ---------------------------------------------------------------- once the databases run


def fill(work: Path, city: Path, addresses: dict[str, str]) -> None:
    """Load both databases and make the users that may only read. Loaded ones are left as they are."""
    passwords = {name: _secret(city / "departments" / name / "source.password") for name in IN_DATABASES}
    host, port = addresses["water-db"].rsplit(":", 1)
    water = make_conninfo(
        host=host, port=port, dbname="water", user="owner", password=_secret(city / "secrets" / "water" / "owner")
    )
    with psycopg.connect(water, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER]).fetchone() is None:
            load_servers(work, water_dsn=water)
            reader = Identifier(READER)
            connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(reader, passwords["water"]))
            connection.execute(SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(reader))
    host, port = addresses["market-db"].rsplit(":", 1)
    market: dict[str, Any] = {"host": host, "port": int(port), "user": "root", "database": "market"}
    market["password"] = _secret(city / "secrets" / "market" / "owner")
    with pymysql.connect(**market) as base, base.cursor() as cursor:
        if not cursor.execute("SELECT 1 FROM mysql.user WHERE user = %s", [READER]):
            load_servers(work, market=market)
            cursor.execute(f"CREATE USER '{READER}'@'%%' IDENTIFIED BY %s", [passwords["market"]])
            cursor.execute(f"GRANT SELECT ON market.* TO '{READER}'@'%'")
    print("water and market are filled", flush=True)


if __name__ == "__main__":
    main()
