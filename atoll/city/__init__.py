"""The demonstration city: one deterministic generator, six silos, answers known before any file is written.

    manifest = generate(Config(seed=4499, scale_name="small"), Path("city"))

leaves `city/silos/<department>/...`, `city/truth/*.parquet`, `city/answers/*.json` and `city/manifest.json`.
`load_servers` fills real PostgreSQL and MariaDB servers from the embedded copies.
"""

from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.city.base import VERSION, Answers, Config
from atoll.city.write import load_mariadb, load_postgres, write_json
from atoll.demo.signals import end_with

MAKERS: tuple[str, ...] = (
    "air",
    "water",
    "housing",
    "market",
    "chemicals",
    "health",
    "environment",
    "keys",
    "verdicts",
)
"""Modules with a `write(cfg, out) -> Answers`, the longest first."""

_PROCESSES = 2


@dataclass(frozen=True)
class Manifest:
    """What was generated; `files` maps paths relative to the city's directory to their SHA-256."""

    config: Config
    files: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The content of manifest.json."""
        c = self.config
        return {
            "seed": c.seed,
            "scale": c.scale_name,
            "years": [c.first_year, c.last_year],
            "dirt": c.dirt,
            "frauds": int(c.frauds),
            "version": VERSION,
            "files": self.files,
        }


def generate(config: Config, out_dir: Path, progress: Callable[[str], None] | None = None) -> Manifest:
    """Writes a whole city under `out_dir`; what an earlier run left there is replaced.

    progress is called with the name of each maker that has finished. Raises OSError when a file can't be
    written, and whatever a maker raises.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    for part in ("silos", "truth", "answers"):
        if (out_dir / part).exists():
            shutil.rmtree(out_dir / part)
    files: dict[str, str] = {}
    # a fresh interpreter each: no maker sees another's state, and the parent may hold threads
    context = multiprocessing.get_context("spawn")
    pool_of = ProcessPoolExecutor(_PROCESSES, context, initializer=end_with, initargs=(os.getpid(),))
    with pool_of as pool:
        running = {pool.submit(_make, name, config, out_dir): name for name in MAKERS}
        for done in as_completed(running):
            files.update(done.result())
            if progress:
                progress(running[done])
    manifest = Manifest(config, dict(sorted(files.items())))
    write_json(out_dir / "manifest.json", manifest.as_dict())
    return manifest


def _make(name: str, config: Config, out_dir: Path) -> dict[str, str]:
    """Runs one maker; relative path -> SHA-256 of all it wrote."""
    made: Answers = importlib.import_module(f"atoll.city.{name}").write(config, out_dir)
    answers = [write_json(out_dir / "answers" / f"{e['question']}.json", e) for e in made.entries]
    return {path.relative_to(out_dir).as_posix(): _sha256(path) for path in (*made.files, *answers)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_servers(out_dir: Path, *, water_dsn: str | None = None, market: dict[str, Any] | None = None) -> None:
    """Fills real servers from a generated city.

    water_dsn: a PostgreSQL connection string. market: keyword arguments of pymysql.connect; the server must
    allow local_infile. Tables of the city's names are replaced.
    """
    from atoll.city import market as market_maker
    from atoll.city import water as water_maker

    if water_dsn:
        load_postgres(out_dir / "silos" / "water" / "water.db", water_maker.SHAPES, water_dsn)
    if market:
        load_mariadb(out_dir / "silos" / "market" / "market.db", market_maker.SHAPES, market)


__all__ = ["MAKERS", "Config", "Manifest", "generate", "load_servers"]
