"""A database that comes and goes for minutes under a whole product: each tenant moves once or twice."""

import json
import time
from collections import Counter
from typing import Any

import pytest

from examples.pair import SCHEMA, USER, Pair
from tests.harness import eventually, free_ports, short_directory
from tests.integration.watching import frozen
from tests.system.deployment import Deployment
from tests.system.visiting import undisturbed

pytestmark = pytest.mark.timeout(400)

TENANTS = [f"tenant-{number}" for number in range(20)]
FLAPS = 25
HALF = 3.0
"""Seconds up, and seconds down."""

SQLITE = """
[databases.local]
url = "sqlite:///var/app.db"
"""
"""What `bus init` has written."""

DATABASES = """
[databases.db1]
url = "mysql://{user}@127.0.0.1:{ports[0]}/{schema}"
password_file = "{home}/password"
[databases.db2]
url = "mysql://{user}@127.0.0.1:{ports[1]}/{schema}"
password_file = "{home}/password"
"""

GOING_BACK = """
[moves]
failback_rate = 10.0
failback_after = 10.0
"""


def moves(deployment: Deployment) -> list[dict[str, Any]]:
    lines = deployment.bus(
        "tail", "--since", "1", "--no-follow", "--json", "--type", "PROC_MOVED"
    ).splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("more", ["", GOING_BACK])
def test_a_database_that_flaps_for_minutes_moves_each_tenant_twice_at_most(more: str) -> None:
    with short_directory() as home, Deployment.made() as deployment:
        ports = free_ports(2)
        pair = Pair(home, (ports, ports + 1), lambda _: None)
        with pair.running():
            databases = DATABASES.format(user=USER, schema=SCHEMA, ports=(ports, ports + 1), home=home)
            config = deployment.config.read_text()
            assert SQLITE in config
            deployment.config.write_text(config.replace(SQLITE, databases) + more)
            deployment.start()
            deployment.add(*TENANTS)
            deployment.ready("first", *TENANTS)
            with undisturbed(deployment, *TENANTS[:4]):
                for _ in range(FLAPS):
                    with frozen(pair.servers["db1"]):
                        time.sleep(HALF)
                    time.sleep(HALF)
            counts = Counter(each["subject"] for each in moves(deployment))
            assert counts, "half of them were on it"
            assert max(counts.values()) <= 2
            eventually(lambda: {row["state"] for row in deployment.ps().values()} == {"RUNNING"})
