"""Memory of idle tenants: PSS, in which what processes share is divided among them (proc_pid_smaps(5))."""

import re
import time
from pathlib import Path

from tests.bench.product import idle_tenants, running
from tests.bench.table import Row

TENANTS = 200
PEERS = "one interpreter each: 16.5"


def pss(pid: int) -> float:
    """MiB."""
    found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def run() -> list[Row]:
    with running() as product:
        tenants = idle_tenants(product, TENANTS)
        time.sleep(2.0)
        each = sum(pss(tenant.pid) for tenant in tenants) / TENANTS
        services = sum(pss(program.pid) for program in product.services.values())
    return [
        Row(f"PSS of an idle tenant, of {TENANTS}", each, "MiB", "below 6", PEERS),
        Row(f"PSS of the five services at {TENANTS} tenants", services, "MiB"),
    ]
