"""Any component may die, alone or with all others: tenants run on, and the next trouble is handled."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import eventually
from tests.system.deployment import Deployment
from tests.system.visiting import undisturbed

TENANTS = ("first", "second", "third")
SERVICES = ("broker", "pathwatch", "dbwatch", "dispatcher", "reactor")


@pytest.fixture(scope="module")
def running() -> Iterator[Deployment]:
    with Deployment.made() as deployment:
        deployment.start()
        deployment.add("second", "third")
        deployment.ready(*TENANTS)
        yield deployment


def kill_and_wait(deployment: Deployment, *services: str) -> None:
    before = deployment.services()
    for service in services:
        os.kill(before[service]["pid"], signal.SIGKILL)

    def all_back() -> bool:
        now = deployment.services()
        return all(
            now[service]["state"] == "RUNNING" and now[service]["pid"] != before[service]["pid"]
            for service in services
        )

    eventually(all_back, every=0.1)


def crash(deployment: Deployment, tenant: str) -> None:
    """Kill a tenant's process: another one serves soon, and nobody else is touched."""
    before = deployment.pids()
    os.kill(before[tenant], signal.SIGKILL)
    eventually(lambda: deployment.pids().get(tenant) not in {None, before[tenant]}, every=0.05)
    after = deployment.ready(*TENANTS)
    assert {name for name in TENANTS if after[name] != before[name]} == {tenant}


@pytest.mark.parametrize("service", SERVICES)
def test_killed_service_comes_back_and_no_tenant_notices(running: Deployment, service: str) -> None:
    before = running.ready(*TENANTS)
    with undisturbed(running, *TENANTS):
        kill_and_wait(running, service)
    assert running.ready(*TENANTS) == before
    crash(running, "first")


def test_all_services_killed_at_once(running: Deployment) -> None:
    before = running.ready(*TENANTS)
    with undisturbed(running, *TENANTS):
        kill_and_wait(running, *SERVICES)
    assert running.ready(*TENANTS) == before
    crash(running, "third")


def test_killed_bus_up_leaves_tenants_running_and_the_next_takes_them_back(running: Deployment) -> None:
    before = running.ready(*TENANTS)
    services = {row["pid"] for row in running.services().values()}
    assert running.up
    with undisturbed(running, *TENANTS):
        running.up.kill()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in services))
        running.start()
    assert running.ready(*TENANTS) == before
    crash(running, "second")


def test_killed_reactor_leaves_a_tenant_alone_whose_settings_are_wrong_now(running: Deployment) -> None:
    before = running.ready(*TENANTS)
    file = running.directory / "tenants" / "second" / "tenant.toml"
    good = file.read_text()
    try:
        with undisturbed(running, *TENANTS):
            file.write_text('package = "hello"\nplan = "precious"\n')
            eventually(lambda: "tenant.toml:2: plan" in running.ps()["second"]["reason"], every=0.1)
            kill_and_wait(running, "reactor")
            assert running.ready(*TENANTS) == before
    finally:
        file.write_text(good)
    eventually(lambda: running.ps()["second"]["reason"] == "", every=0.1)
    crash(running, "second")


def test_spoilt_journal_disturbs_no_tenant(running: Deployment) -> None:
    before = running.ready(*TENANTS)
    services = running.services()
    with undisturbed(running, *TENANTS):
        os.kill(services["broker"]["pid"], signal.SIGSTOP)
        (running.directory / "var" / "journal.db").write_bytes(b"no database at all")
        os.kill(services["broker"]["pid"], signal.SIGKILL)

        def all_have_begun_anew() -> bool:
            now = running.services()
            return all(
                now[name]["state"] == "RUNNING" and now[name]["pid"] != services[name]["pid"]
                for name in SERVICES
            )

        eventually(all_have_begun_anew, every=0.1)
        assert running.ready(*TENANTS) == before
    crash(running, "first")
