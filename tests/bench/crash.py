"""kill -9 of a tenant to the first answer of the next process, beside an interpreter started for it."""

import os
import signal
import statistics
import sys
import time
import urllib.request
from pathlib import Path

from tests.bench.product import APPLICATION, Product, running
from tests.bench.table import Row
from tests.harness import Program, eventually, free_port, short_directory

KILLS = 50
FRESH_STARTS = 10
PEERS = "PM2 95, uWSGI 102, systemd 109, supervisor 1,092"

FORGIVING = "[restart]\nstable_after = 0.1"
"""So that fifty kills in a row do not count as a tenant that cannot run."""

FRESH = f"""{APPLICATION}
import sys

import tornado.ioloop

make_app(None).listen(int(sys.argv[1]), "127.0.0.1")
tornado.ioloop.IOLoop.current().start()
"""


def kills(product: Product) -> list[float]:
    """Milliseconds without service, kill by kill."""
    product.add("acme")
    pid = product.pid("acme")
    took = []
    for _ in range(KILLS):
        time.sleep(0.2)
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        pid = product.pid("acme", not_pid=pid)
        took.append(1e3 * (time.perf_counter() - begin))
    return took


def fresh(directory: Path) -> float:
    """Milliseconds from the start of an interpreter to its first answer."""
    script = directory / "fresh.py"
    script.write_text(FRESH)
    port = free_port()

    def answer() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            body: bytes = response.read()
            return body

    begin = time.perf_counter()
    with Program(sys.executable, str(script), str(port), cwd=directory) as program:
        eventually(answer, every=0.001)
        took = 1e3 * (time.perf_counter() - begin)
        program.kill()
    return took


def run() -> list[Row]:
    with short_directory() as directory:
        baseline = statistics.median(fresh(directory) for _ in range(FRESH_STARTS))
    with running(FORGIVING) as product:
        took = kills(product)
    median = statistics.median(took)
    return [
        Row("kill -9 to the next process's first 200, median", median, "ms", "below 25", PEERS),
        Row("kill -9 to the next process's first 200, p95", statistics.quantiles(took, n=20)[18], "ms"),
        Row("tornado started by exec to its first 200", baseline, "ms"),
        Row("started by exec, as a multiple of ours", baseline / median, "times"),
    ]
