"""What watching 200 idle tenants costs: the dispatcher's processor time, and wake-ups of the tenants."""

import time

import psutil

from tests.bench.product import Product, idle_tenants, running
from tests.bench.table import Row
from tests.harness import Program

TENANTS = 200
SECONDS = 30.0
SETTLE = 65.0
"""Seconds until the first answers, which the bench itself asked for, no longer count as traffic."""
PEERS = "supervisor with httpok 38, circus 12, uWSGI 6.1, systemd 2.3 (100 tenants)"


def switches(tenants: list[psutil.Process]) -> int:
    return sum(sum(tenant.num_ctx_switches()) for tenant in tenants)


def costs(program: Program, tenants: list[psutil.Process]) -> tuple[float, float]:
    """Give the program's share of a core in %, and the tenants' context switches a second."""
    process = psutil.Process(program.pid)
    before, switched, begin = process.cpu_times(), switches(tenants), time.monotonic()
    time.sleep(SECONDS)
    after, took = process.cpu_times(), time.monotonic() - begin
    used = after.user + after.system - before.user - before.system
    return 100 * used / took, (switches(tenants) - switched) / took


def without_http(product: Product) -> Program:
    """Replace the dispatcher by one that looks at pages and asks nobody."""
    product.services["services.dispatcher"].stop()
    config = product.config.with_name("pages-only.toml")
    config.write_text(f"{product.config.read_text()}\n[checks]\nhttp_every = 1e9\n")
    return Program.module("services.dispatcher", config)


def run() -> list[Row]:
    with running() as product:
        tenants = idle_tenants(product, TENANTS)
        time.sleep(SETTLE)
        cpu, asked = costs(product.services["services.dispatcher"], tenants)
        with without_http(product) as dispatcher:
            time.sleep(2.0)
            cpu_pages, woken = costs(dispatcher, tenants)
    return [
        Row(f"dispatcher at {TENANTS} idle tenants, of a core", cpu, "%", "below 1", PEERS),
        Row("the same, looking at pages alone", cpu_pages, "%", "below 1"),
        Row(f"context switches of {TENANTS} tenants by looking", woken, "/s", "below 0.1"),
        Row("the same with an HTTP check a minute each", asked, "/s"),
    ]
