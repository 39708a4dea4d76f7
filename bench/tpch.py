"""TPC-H data as Parquet, made once per scale by DuckDB's own generator in an environment of its own.

The generator is an extension of DuckDB 1.5 that comes as a package; atoll itself runs DuckDB 2.0, hence the
second environment. Everything lies in .cache/bench and survives `make clean`'s like.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb

__all__ = ["CACHE", "KEYS", "TABLES", "columns", "parquet", "peer", "queries", "rows"]

CACHE = Path(__file__).parents[1] / ".cache" / "bench"
PEER = (
    "duckdb==1.5.5", "duckdb-extension-tpch==1.5.5", "duckdb-extension-postgres-scanner==1.5.5",
    "duckdb-extension-mysql-scanner==1.5.5", "pyarrow",
)  # fmt: skip
VERSION = "2"
"""Of PEER; another one makes the environment anew."""
TABLES = {
    "lineitem": "a",
    "orders": "a",
    "customer": "b",
    "nation": "b",
    "region": "b",
    "part": "c",
    "partsupp": "c",
    "supplier": "c",
}
"""Table -> department: a is PostgreSQL, b MariaDB, c a folder of Parquet files."""
KEYS = {
    "lineitem": ["l_orderkey", "l_linenumber"],
    "orders": ["o_orderkey"],
    "customer": ["c_custkey"],
    "nation": ["n_nationkey"],
    "region": ["r_regionkey"],
    "part": ["p_partkey"],
    "partsupp": ["ps_partkey", "ps_suppkey"],
    "supplier": ["s_suppkey"],
}
"""Table -> its primary key."""

GENERATE = """
import sys, pathlib, duckdb, duckdb_extension_tpch
folder, scale = pathlib.Path(sys.argv[1]), float(sys.argv[2])
extension = next(pathlib.Path(duckdb_extension_tpch.__file__).parent.rglob("tpch.duckdb_extension"))
db = duckdb.connect()
db.execute(f"LOAD '{extension}'")
db.execute(f"CALL dbgen(sf={scale})")
for table in sys.argv[3:]:
    db.execute(f"COPY {table} TO '{folder}/{table}.parquet' (FORMAT parquet)")
"""


def parquet(scale: float) -> Path:
    """A folder with one <table>.parquet each; made if it is not there yet."""
    folder = CACHE / f"tpch-{scale:g}"
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([peer(), "-c", GENERATE, str(folder), str(scale), *TABLES], check=True)
    (folder / "done").touch()
    return folder


def queries(place: Callable[[str], str]) -> dict[str, str]:
    """q01 .. q22 -> text. place: what stands for a table, such as `a.main.orders`."""
    found = {}
    for block in (Path(__file__).with_name("tpch.sql")).read_text().split(";\n"):
        name, _, sql = block.strip().partition("\n")
        if sql:
            found[name.removeprefix("-- ")] = sql.format(**{table: place(table) for table in TABLES})
    return found


def columns(data: Path, table: str) -> dict[str, str]:
    """Column -> type of one table in a folder that `parquet` made."""
    found = duckdb.sql(f"DESCRIBE SELECT * FROM '{data}/{table}.parquet'").fetchall()
    return {str(name): str(kind).lower() for name, kind, *_ in found}


def rows(data: Path, table: str) -> int:
    """Rows of one table in a folder that `parquet` made."""
    ((found,),) = duckdb.sql(f"SELECT count(*) FROM '{data}/{table}.parquet'").fetchall()
    return int(found)


def peer() -> str:
    """The Python of the generator's own environment."""
    home = CACHE / "peer"
    python = home / "bin" / "python"
    if not (home / VERSION).exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEER], check=True)
        (home / VERSION).touch()
    return str(python)
