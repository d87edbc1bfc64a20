"""Measures: python -m tests.bench [NAME...]; every module here with a `run` is a bench."""

import argparse
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.bench import table
from tests.bench.table import Row

BENCHES = (
    "crash",
    "stuck",
    "add",
    "density",
    "ondemand",
    "moves",
    "watch",
    "pages",
    "queues",
    "broker",
    "connect",
    "nginx",
)
"""In the order in which they are shown."""


def measure(name: str, runs: int) -> list[Row]:
    """Run one bench so many times, and tell what it is doing."""
    bench = import_module(f"tests.bench.{name}")
    results: list[list[Row]] = []
    for number in range(1, runs + 1):
        print(f"{name} ({number}/{runs}) ...", file=sys.stderr, flush=True)
        results.append(bench.run())
    return table.median_rows(results)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; default: all")
    parser.add_argument("--runs", type=int, default=1, help="runs of each, of which the median is shown")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="also write the table between FILE's marks"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHES)
    if unknown:
        parser.error(f"no bench named {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    with tempfile.TemporaryDirectory(prefix="tb-pyc-") as compiled:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled  # as when installed: nobody compiles at each start
        rows = [row for name in arguments.names or BENCHES for row in measure(name, arguments.runs)]
    print(table.text(rows))
    if arguments.markdown:
        table.write_between_marks(arguments.markdown, table.markdown(rows))
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
