"""200 new connections a second at one tenant over kill -9: at its socket, its port, and through nginx."""

import os
import signal
import statistics
import time
from pathlib import Path

from examples.front import Front
from tests import arrivals
from tests.arrivals import Outcome, Visit
from tests.bench.crash import FORGIVING
from tests.bench.product import Product, running
from tests.bench.table import Row
from tests.harness import free_port, free_ports, short_directory

KILLS = 20

PAUSE = 0.3
"""Seconds between two kills."""

PEERS = "PM2 19, circus 34, supervisor 220 (one kill)"


def over_kills(product: Product, address: Path | int) -> list[Visit]:
    """Visit the tenant while it is killed again and again, each time when the next process answers."""

    def kills() -> None:
        pid = product.pid("acme")
        for _ in range(KILLS):
            os.kill(pid, signal.SIGKILL)
            pid = product.pid("acme", not_pid=pid)
            time.sleep(PAUSE)

    return arrivals.during(kills, address)


def rows(visits: list[Visit], where: str) -> list[Row]:
    count = [visit.outcome for visit in visits].count
    took = [1e3 * (visit.ended - visit.began) for visit in visits]
    return [
        Row(f"of {len(visits):,} new connections {where}: refused", count(Outcome.REFUSED), "", "below 1"),
        Row("cut off in flight", count(Outcome.FAILED), ""),
        Row("their answer, p99", statistics.quantiles(took, n=100)[98], "ms"),
    ]


def run() -> list[Row]:
    ports = free_ports(2)
    settings = f"{FORGIVING}\n[tenants]\nport_range = [{ports}, {ports + 1}]"
    with short_directory() as place, running(settings) as product:
        front = Front(place, product.settings.run_dir / "http", free_port())
        with front.running():
            product.add("acme")
            product.pid("acme")
            socket = over_kills(product, product.settings.http_socket("acme"))
            port = over_kills(product, product.port("acme"))
            through = over_kills(product, front.port)
    failed = sum(visit.outcome is not Outcome.ANSWERED for visit in through)
    return [
        *rows(socket, f"to the socket over {KILLS} kill -9"),
        *rows(port, f"to the port over {KILLS} kill -9"),
        Row(f"of {len(through):,} through nginx over {KILLS} kill -9: failed", failed, "", "below 1", PEERS),
    ]
