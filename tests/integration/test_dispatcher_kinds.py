"""Real tornado tenants that fall ill in different ways: each is told apart, and leaves evidence."""

import asyncio
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.client import connect
from bus.events import ProcStuck
from tests.bench.product import Product, running
from tests.harness import DEADLINE

SETTINGS = """
[checks]
stuck_after = 0.6
http_every = {http_every}
http_timeout = 0.5
brake_minimum = 50
[restart]
stable_after = 0.1
[tenants.limits]
open_files = 64
"""
SICK = (Path(__file__).parent / "apps" / "sick" / "sick.py").read_text()


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with running(SETTINGS.format(http_every=3600.0), SICK) as product:
        yield product


@pytest.fixture(scope="module")
def asking() -> Iterator[Product]:
    """A product that asks quiet tenants all the time."""
    with running(SETTINGS.format(http_every=0.3), SICK) as product:
        yield product


async def verdict(product: Product, tenant: str, verb: str = "") -> ProcStuck:
    """Make a tenant ill, by a request or by SIGSTOP, and give what is said about it once it serves again."""
    bus = await connect(product.settings, "test", within=DEADLINE)
    events = await bus.subscribe("PROC_STUCK", subject=tenant)
    pid = product.pid(tenant)
    if verb:
        product.say(tenant, verb)
    else:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(DEADLINE):
            event = (await anext(events)).event
    finally:
        await bus.close()
    assert isinstance(event, ProcStuck)
    assert event.pid == pid
    product.pid(tenant, not_pid=pid)
    return event


def fall_ill(product: Product, tenant: str, verb: str = "") -> tuple[ProcStuck, str]:
    """Give what is said about a new tenant that falls ill, and the evidence."""
    product.add(tenant)
    product.pid(tenant)
    stuck = asyncio.run(verdict(product, tenant, verb))
    return stuck, Path(stuck.evidence).read_text()


def test_a_blocked_loop(product: Product) -> None:
    stuck, evidence = fall_ill(product, "blocked", "/block")
    assert stuck.kind == "loop blocked"
    assert 'tiny.py", line' in evidence
    assert "in block\n" in evidence
    mode = Path(stuck.evidence).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_the_evidence_tells_what_led_there_and_no_secret(product: Product) -> None:
    tenant = product.settings.tenants_dir / "secretive"
    tenant.mkdir()
    (tenant / "secrets.env").write_text("API_KEY=hunter2\n")
    (tenant / "secrets.env").chmod(0o600)
    (tenant / "tenant.toml").write_text('package = "tiny"\n')
    log = tenant / "log" / "output.log"
    product.pid("secretive")
    with log.open("a") as file:
        file.write("about to do something silly\n")
    stuck = asyncio.run(verdict(product, "secretive", "/block"))
    evidence = Path(stuck.evidence).read_text()
    for section in (
        "Threads, in the last",
        "Stack of every thread",
        "Last lines",
        "Open files",
        "Connections",
    ):
        assert f"--- {section}" in evidence
    assert "about to do something silly" in evidence
    assert "AF_UNIX SOCK_STREAM" in evidence
    assert "hunter2" not in evidence


def test_a_busy_loop(product: Product) -> None:
    stuck, evidence = fall_ill(product, "spinning", "/spin")
    assert stuck.kind == "busy loop"
    assert "in spin\n" in evidence


def test_a_deadlock_that_holds_the_gil(product: Product) -> None:
    """The stack comes all the same: faulthandler needs no GIL."""
    stuck, evidence = fall_ill(product, "locked", "/deadlock")
    assert stuck.kind == "deadlock"
    assert "in deadlock\n" in evidence


def test_a_stopped_process(product: Product) -> None:
    stuck, evidence = fall_ill(product, "stopped")
    assert stuck.kind == "stopped"
    assert "none: the process is in state T, in which it cannot answer" in evidence


def test_an_uninterruptible_process(product: Product) -> None:
    stuck, evidence = fall_ill(product, "deep", "/uninterruptible")
    assert stuck.kind == "uninterruptible"
    assert "none: the process is in state D, in which it cannot answer" in evidence


def test_a_process_whose_main_thread_has_ended(product: Product) -> None:
    stuck, _ = fall_ill(product, "dead", "/zombie")
    assert stuck.kind == "zombie"


def test_no_descriptor_left_to_accept_with(asking: Product) -> None:
    stuck, _ = fall_ill(asking, "crowded", "/full")
    assert stuck.kind == "out of file descriptors"
    assert "of 64 file descriptors in use" in stuck.reason


def test_another_server_on_its_socket(asking: Product) -> None:
    """Somebody else's process has taken its place: the tenant's is replaced, since it serves nobody."""
    asking.add("host")
    asking.add("guest")
    asking.pid("host")
    asking.pid("guest")
    own, others = (asking.settings.http_socket(name) for name in ("host", "guest"))
    kept = own.with_suffix(".kept")

    async def swap() -> ProcStuck:
        bus = await connect(asking.settings, "test", within=DEADLINE)
        events = await bus.subscribe("PROC_STUCK", subject="host")
        own.rename(kept)
        own.hardlink_to(others)
        try:
            async with asyncio.timeout(DEADLINE):
                event = (await anext(events)).event
        finally:
            own.unlink()
            kept.rename(own)
            await bus.close()
        assert isinstance(event, ProcStuck)
        return event

    stuck = asyncio.run(swap())
    assert stuck.kind == "answers for another tenant"
    assert "answers as tenant guest" in stuck.reason
