"""What customers see through nginx while their tenant is restarted, changed and killed, many times."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from examples.front import Front
from tests.bench.crash import FORGIVING
from tests.bench.product import Product, running
from tests.bench.table import Row
from tests.harness import free_port, short_directory

CHANGES = 50
"""Restarts, and as many changes of settings."""

PAUSE = 0.5
"""Seconds between two of them."""

REQUESTS = 100_000

BUS = Path(sys.executable).with_name("bus")

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}

KILLS = 50

SUSPECTS = (
    "DB_*",
    "USER_DELETED",
    "USER_INVALID",
    "PROC_WAITING",
    "PROC_BACKOFF",
    "PROC_FATAL",
    "PROC_STUCK",
)

MIXED = """
local count = 0

function request()
    count = count + 1
    return wrk.format(count % 4 == 0 and "POST" or "GET")
end
"""
"""What wrk asks while nobody is killed: every fourth request may not be asked again."""

LONGEST = 600
"""Seconds that the load runs at most; it is ended when all changes are made."""


def restart(product: Product, number: int) -> None:
    environ = {**os.environ, "TENANTBUS_CONFIG": str(product.config)}
    done = subprocess.run([BUS, "restart", "acme"], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"restart {number}: {done.stdout}{done.stderr}"


def change_settings(product: Product, number: int) -> None:
    file = product.settings.tenants_dir / "acme" / "tenant.toml"
    draft = file.with_name("tenant.new")
    draft.write_text(f'package = "tiny"\nenv = {{ NUMBER = "{number}" }}\n')
    draft.replace(file)


def load(front: Front, script: str = "") -> "subprocess.Popen[str]":
    file = front.directory / "load.lua"
    file.write_text(script)
    options = ("-t1", "-c16", f"-d{LONGEST}s", "--timeout", "30s", "--latency", "-H", "Host: acme.localhost")
    return subprocess.Popen(
        ["wrk", *options, "-s", str(file), f"http://127.0.0.1:{front.port}/"],
        stdout=subprocess.PIPE,
        text=True,
    )


def failures(said: str) -> int:
    """Add up all that wrk counts as failed."""
    answers = re.findall(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.findall(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return sum(map(int, answers)) + sum(int(count) for counts in broken for count in counts)


def milliseconds(said: str, share: str) -> float:
    found = re.search(rf"{share}%\s+([0-9.]+)(us|ms|s|m)\b", said)
    assert found, said
    return 1e3 * float(found[1]) * SECONDS[found[2]]


def changes(product: Product) -> None:
    """Make them all; each ends when another process answers."""
    pid = product.pid("acme")
    for number in range(CHANGES):
        for change in (restart, change_settings):
            change(product, number)
            pid = product.pid("acme", not_pid=pid)
            time.sleep(PAUSE)


def kills(product: Product) -> None:
    """Kill its process again and again, each time when the next one answers."""
    pid = product.pid("acme")
    for _ in range(KILLS):
        os.kill(pid, signal.SIGKILL)
        pid = product.pid("acme", not_pid=pid)
        time.sleep(PAUSE)


def explain(product: Product, front: Front) -> None:
    """Show what failed in which second, and what may have led to it: a database, a start that failed."""
    lines = (front.directory / "failed.log").read_text().splitlines()
    failed = Counter(" ".join(line.split()[:3]) for line in lines)
    sys.stderr.writelines(f"{count:8} x {what}\n" for what, count in failed.items())
    sys.stderr.write((front.directory / "error.log").read_text())
    types = [word for pattern in SUSPECTS for word in ("--type", pattern)]
    environ = {**os.environ, "TENANTBUS_CONFIG": str(product.config)}
    subprocess.run(
        [BUS, "tail", "--since", "1", "--no-follow", *types], env=environ, check=True, stdout=sys.stderr
    )


def under_load(front: Front, what: Callable[[Product], None], product: Product, script: str = "") -> str:
    """Do something to the tenant while it is asked; gives what wrk says."""
    wrk = load(front, script)
    try:
        what(product)
    except AssertionError:
        explain(product, front)
        raise
    finally:
        wrk.send_signal(signal.SIGINT)
        said = wrk.communicate()[0]
    if failures(said):
        explain(product, front)
    return said


def rows(said: str, over: str, target: str = "") -> list[Row]:
    asked = re.search(r"(\d+) requests in", said)
    assert asked, said
    return [
        Row(f"requests through nginx over {over}", int(asked[1]), "", target),
        Row("of which failed", failures(said), "", "below 1"),
        Row("their latency, median", milliseconds(said, "50"), "ms"),
        Row("their latency, p99", milliseconds(said, "99"), "ms"),
    ]


def run() -> list[Row]:
    with short_directory() as place, running(FORGIVING) as product:
        front = Front(place, product.settings.run_dir / "http", free_port())
        with front.running():
            product.add("acme")
            product.pid("acme")  # until then nginx says that it is not there
            changed = under_load(front, changes, product, MIXED)
            killed = under_load(front, kills, product)
    return [
        *rows(changed, f"{CHANGES} restarts and {CHANGES} changes", f"{REQUESTS:,}"),
        *rows(killed, f"{KILLS} kill -9"),
    ]
