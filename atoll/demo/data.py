"""Makes a city's data in a process of its own, which the launcher can stop at any moment.

python -m atoll.demo.data --dir D --seed N --scale S --years A-B --dirt X --frauds 0|1
"""

from __future__ import annotations

import argparse
from pathlib import Path

from atoll.city import Config, generate

__all__ = ["command", "main"]


def command(config: Config, folder: Path) -> list[str]:
    """The arguments after `python` that make this city in this folder."""
    return [
        "-m", "atoll.demo.data", "--dir", str(folder), "--seed", str(config.seed), "--scale", config.scale_name,
        "--years", f"{config.first_year}-{config.last_year}", "--dirt", repr(config.dirt),
        "--frauds", str(int(config.frauds)),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m atoll.demo.data", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--years", required=True)
    parser.add_argument("--dirt", type=float, required=True)
    parser.add_argument("--frauds", type=int, required=True)
    options = parser.parse_args()
    first, last = (int(year) for year in options.years.split("-"))
    config = Config(options.seed, options.scale, (first, last), options.dirt, bool(options.frauds))
    generate(config, options.dir, lambda name: print(f"{name} done", flush=True))


if __name__ == "__main__":
    main()
