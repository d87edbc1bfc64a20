"""What watching 1,000 idle tenants costs the dispatcher and them, and whether it wakes them."""

import time

import psutil

from tests.bench.density import processor, switches
from tests.bench.product import Product, idle_tenants, running
from tests.bench.table import Row
from tests.harness import Program

TENANTS = 1_000
LOOKS = "[checks]\ninterval = 0.25\n"
SECONDS = 60.0
"""As long as it takes to ask each tenant once."""
SETTLE = 65.0
"""Seconds until the first answers, which the bench itself asked for, no longer count as traffic."""
PEERS = "100 tenants: supervisor with httpok 38, circus 12, uWSGI 6.1, systemd 2.3"
BEATS = "with a heartbeat a second: 17"


def costs(program: Program, tenants: list[psutil.Process], seconds: float) -> tuple[float, float, float]:
    """Give the shares of a core in % of the program and of all tenants, and their switches a second."""
    watcher = psutil.Process(program.pid)
    before, used, switched = processor(watcher), sum(map(processor, tenants)), switches(tenants)
    begin = time.monotonic()
    time.sleep(seconds)
    after, took = processor(watcher), time.monotonic() - begin
    used = sum(map(processor, tenants)) - used
    return 100 * (after - before) / took, 100 * used / took, (switches(tenants) - switched) / took


def without_http(product: Product) -> Program:
    """Replace the dispatcher by one that looks at pages and asks nobody."""
    product.services["services.dispatcher"].stop()
    config = product.config.with_name("pages-only.toml")
    config.write_text(f"{product.config.read_text()}http_every = 1e9\n")
    return Program.module("services.dispatcher", config)


def run() -> list[Row]:
    with running(LOOKS) as product:
        tenants = idle_tenants(product, TENANTS)
        time.sleep(SETTLE)
        cpu, answering, asked = costs(product.services["services.dispatcher"], tenants, SECONDS)
        with without_http(product) as dispatcher:
            time.sleep(2.0)
            cpu_pages, _, woken = costs(dispatcher, tenants, SECONDS / 3)
    what = f"{TENANTS:,} idle tenants, looked at four times a second, asked once a minute"
    return [
        Row(f"{what}: dispatcher", cpu, "% of a core", "below 1", PEERS),
        Row("the same: in all tenants together", answering, "% of a core", "below 1", BEATS),
        Row("the same: context switches of all tenants", asked, "/s"),
        Row("looking at pages alone: dispatcher", cpu_pages, "% of a core", "below 1"),
        Row("looking at pages alone: context switches of all tenants", woken, "/s", "below 0.1"),
    ]
