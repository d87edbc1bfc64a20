"""Fork servers die, alone or with all who might notice, at the worst moments: their tenants serve on."""

import os
import shutil
import signal
import socket
from collections.abc import Iterator

import pytest

from services.score import Slot
from tests.harness import DEADLINE, eventually
from tests.system.deployment import Deployment
from tests.system.visiting import undisturbed

pytestmark = pytest.mark.timeout(180)

APPLICATION = """
import asyncio
import os
from tornado.web import Application, RequestHandler


class Pid(RequestHandler):
    def get(self):
        self.write(str(os.getpid()))

    def post(self):
        self.write(self.request.body)


async def make_app(tenant):
    if os.environ.get("MOOD") == "hesitate":
        await asyncio.sleep(1.5)
    return Application([("/.*", Pid)])
"""

CALM = 'package = "shop"\n'
HESITATING = f'{CALM}[env]\nMOOD = "hesitate"\n'
TENANTS = ("first", "second", "third")
SERVICES = ("broker", "pathwatch", "dbwatch", "dispatcher", "reactor")
VICTIMS = {"alone": (), "with reactor and broker": ("reactor", "broker"), "with all services": SERVICES}


@pytest.fixture(scope="module")
def running() -> Iterator[Deployment]:
    with Deployment.made() as deployment:
        release = deployment.directory / "packages" / "shop" / "1.0"
        release.mkdir(parents=True)
        (release / "shop.py").write_text(APPLICATION)
        (release / "package.toml").write_text('entry = "shop:make_app"\n')
        (deployment.directory / "tenants" / "first" / "tenant.toml").write_text(CALM)
        deployment.start()
        deployment.add("second", "third", text=CALM)
        deployment.ready(*TENANTS)
        yield deployment


@pytest.fixture(params=["alone", "with all services"])
def victims(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Who dies in the same instant as the fork server."""
    return VICTIMS[request.param]


def kill(deployment: Deployment, services: tuple[str, ...]) -> None:
    """Kill the fork servers and these services at once; they are back when this returns."""
    before = deployment.services()
    parents = deployment.fork_servers()
    assert parents
    for pid in (*parents, *(before[service]["pid"] for service in services)):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not set(deployment.fork_servers()) & set(parents))
    eventually(
        lambda: all(
            row["state"] == "RUNNING" and row["pid"] != before[name]["pid"]
            for name, row in deployment.services().items()
            if name in services
        ),
        every=0.1,
    )


def change(deployment: Deployment, tenant: str, text: str) -> None:
    file = deployment.directory / "tenants" / tenant / "tenant.toml"
    draft = file.with_name("tenant.new")
    draft.write_text(text)
    draft.replace(file)


def only(deployment: Deployment, tenant: str) -> int:
    """Wait until a tenant has one process, which runs; gives its pid."""

    def look() -> int | None:
        row = deployment.ps()[tenant]
        pids = deployment.processes(tenant)
        return pids[0] if (row["state"], [row["pid"]]) == ("RUNNING", pids) and not row["reason"] else None

    pid = eventually(look, every=0.1)
    assert pid
    return pid


@pytest.mark.parametrize("victims", VICTIMS.values(), ids=VICTIMS)
def test_its_tenants_serve_on_and_the_next_comes_from_another(
    running: Deployment, victims: tuple[str, ...]
) -> None:
    before = running.ready(*TENANTS)
    with undisturbed(running, *TENANTS):
        kill(running, victims)
        assert running.ready(*TENANTS) == before
    os.kill(before["second"], signal.SIGKILL)  # nobody is its parent now: it is noticed all the same
    assert eventually(lambda: running.get("second") == 200)
    assert only(running, "second") != before["second"]
    (parent,) = running.fork_servers()
    with undisturbed(running, *TENANTS):
        running.bus("restart", *TENANTS)
    after = {tenant: only(running, tenant) for tenant in TENANTS}
    assert not set(after.values()) & set(before.values())
    assert running.fork_servers() == [parent]
    os.kill(after["first"], signal.SIGKILL)
    eventually(lambda: only(running, "first") != after["first"])


def test_in_the_middle_of_a_start(running: Deployment, victims: tuple[str, ...]) -> None:
    running.add("late", text=HESITATING)
    try:
        eventually(lambda: running.ps()["late"]["state"] == "STARTING", every=0.02)
        with undisturbed(running, *TENANTS):
            kill(running, victims)
            pid = only(running, "late")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: only(running, "late") != pid)
    finally:
        shutil.rmtree(running.directory / "tenants" / "late")
    eventually(lambda: not running.processes("late"))
    running.ready(*TENANTS)


def test_in_the_middle_of_a_replacement(running: Deployment, victims: tuple[str, ...]) -> None:
    before = running.ready(*TENANTS)
    try:
        with undisturbed(running, *TENANTS):
            change(running, "first", HESITATING)
            eventually(lambda: "being replaced by pid" in running.ps()["first"]["reason"], every=0.02)
            assert len(running.processes("first")) == 2
            kill(running, victims)
            after = only(running, "first")
            assert after != before["first"]
        os.kill(after, signal.SIGKILL)
        eventually(lambda: only(running, "first") != after)
        assert {name: only(running, name) for name in ("second", "third")} == {
            name: before[name] for name in ("second", "third")
        }
    finally:
        change(running, "first", CALM)
    only(running, "first")


def test_in_the_middle_of_a_stop(running: Deployment, victims: tuple[str, ...]) -> None:
    pid = only(running, "third")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor,
        undisturbed(running, "first", "second"),
    ):
        visitor.settimeout(DEADLINE)
        visitor.connect(str(running.directory / "var" / "run" / "http" / "third.sock"))
        visitor.sendall(b"POST / HTTP/1.1\r\nHost: third\r\nContent-Length: 5\r\n\r\n")
        eventually(lambda: running.score("third", Slot.IN_FLIGHT) == 1)
        running.bus("stop", "third", "--no-wait")
        eventually(lambda: running.ps()["third"]["state"] == "STOPPING", every=0.02)
        kill(running, victims)
        assert running.processes("third") == [pid], "it finishes its requests"
        visitor.sendall(b"hello")
        assert visitor.makefile("rb").read().endswith(b"hello")
    eventually(lambda: running.ps()["third"]["state"] == "STOPPED", every=0.1)
    assert running.processes("third") == []
    running.bus("start", "third")
    assert only(running, "third") != pid
