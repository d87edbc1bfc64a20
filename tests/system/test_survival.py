"""Any component may die, alone or with all others: tenants run on, and the next trouble is handled."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.harness import DEADLINE, eventually
from tests.system.deployment import Deployment

TENANTS = ("first", "second", "third")
SERVICES = ("broker", "pathwatch", "dbwatch", "dispatcher", "reactor")


@pytest.fixture(scope="module")
def running() -> Iterator[Deployment]:
    with Deployment.made() as deployment:
        deployment.start()
        deployment.add("second", "third")
        deployment.ready(*TENANTS)
        yield deployment


class Visitor(threading.Thread):
    """A customer who keeps opening new connections to one tenant, and notes what goes wrong."""

    def __init__(self, deployment: Deployment, tenant: str) -> None:
        super().__init__(daemon=True)
        self.deployment, self.tenant = deployment, tenant
        self.done = threading.Event()
        self.answers = 0
        self.failures: list[object] = []

    def run(self) -> None:
        while not self.done.wait(0.01):
            try:
                status = self.deployment.get(self.tenant)
            except OSError as error:
                self.failures.append(error)
            else:
                self.answers += 1
                if status != 200:
                    self.failures.append(status)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join(DEADLINE)


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
    with Visitor(running, "second") as visitor:
        kill_and_wait(running, service)
    assert visitor.failures == []
    assert visitor.answers
    assert running.ready(*TENANTS) == before
    crash(running, "first")


def test_all_services_killed_at_once(running: Deployment) -> None:
    before = running.ready(*TENANTS)
    with Visitor(running, "second") as visitor:
        kill_and_wait(running, *SERVICES)
    assert visitor.failures == []
    assert running.ready(*TENANTS) == before
    crash(running, "third")


def test_killed_bus_up_leaves_tenants_running_and_the_next_takes_them_back(running: Deployment) -> None:
    before = running.ready(*TENANTS)
    services = {row["pid"] for row in running.services().values()}
    assert running.up
    with Visitor(running, "second") as visitor:
        running.up.kill()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in services))
        running.start()
    assert visitor.failures == []
    assert running.ready(*TENANTS) == before
    crash(running, "second")
