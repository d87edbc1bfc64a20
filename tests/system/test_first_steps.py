"""What somebody does who has just installed tenantbus: all of it, from `bus init` to Ctrl-C."""

import os
import signal
import socket
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.commandline import bus, complaint
from tests.harness import DEADLINE, Program, eventually
from tests.upping import Shop, shop

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def place() -> Iterator[Shop]:
    with shop() as made:
        yield made


def test_first_steps(place: Shop) -> None:
    here = place.place
    assert bus("check", cwd=here) == ""
    with place.up() as up:
        eventually(lambda: place.serves("first"))
        first_is_served(place)
        another_tenant_is_a_directory(place)
        tenants_are_stopped_started_restarted(place)
        a_crash_is_explained(place)
        services_are_restarted_alone(place)
        a_mistake_is_told_and_hurts_nobody(place)
        assert f"held by pid {up.pid}" in complaint("up", cwd=here, code=3)
        ctrl_c_stops_everything(place, up)


def first_is_served(place: Shop) -> None:
    row = eventually(lambda: place.tenant("first")["state"] == "RUNNING" and place.tenant("first"))
    assert (row["release"], row["database"], row["restarts"]) == ("hello-1.0", "local", 0)
    assert f"Hello from first, release hello-1.0, pid {row['pid']}" in place.serves("first")
    connection = HTTPConnection("127.0.0.1", row["port"], timeout=5)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == HTTPStatus.OK
    connection.close()
    (database,) = place.json("db")
    assert (database["state"], database["tenants"]) == ("UP", 1)
    *causes, started, ready = place.json("why", "first")
    assert (started["type"], ready["type"]) == ("PROC_STARTED", "PROC_READY")
    assert started["cause"] == causes[-1]["seq"]
    assert causes[-1]["type"] in {"USER_ADDED", "PACKAGE_RELEASED", "DB_UP"}, "whichever was said last"


def another_tenant_is_a_directory(place: Shop) -> None:
    directory = place.place / "tenants/second"
    directory.mkdir()
    (directory / "tenant.toml").write_text('package = "hello"\n\n[env]\nGREETING = "Bonjour"\n')
    assert "Bonjour from second" in eventually(lambda: place.serves("second"))
    assert place.tenant("second")["port"] != place.tenant("first")["port"]


def tenants_are_stopped_started_restarted(place: Shop) -> None:
    here = place.place
    first, second = place.tenant("first"), place.tenant("second")
    assert bus("stop", "first", cwd=here).split() == ["first", "STOPPED"]
    row = place.tenant("first")
    assert (row["state"], row["pid"]) == ("STOPPED", None)
    assert "stop requested by" in row["reason"]
    with pytest.raises(OSError, match=r"refused|reset|timed out"):
        place.serves("first", within=0.5)
    assert bus("start", "first", cwd=here).startswith("first  RUNNING  pid ")
    assert place.tenant("first")["port"] == first["port"]
    assert "already running" in bus("start", "first", cwd=here)
    restarted = bus("restart", "*", cwd=here)
    assert sorted(line.split()[:2] for line in restarted.splitlines()) == [
        ["first", "RUNNING"],
        ["second", "RUNNING"],
    ]
    assert place.tenant("second")["pid"] not in {second["pid"], None}
    assert place.tenant("second")["restarts"] == 0, "what somebody asked for does not count"
    assert "did you mean second?" in complaint("restart", "secnd", cwd=here, code=1)


def a_crash_is_explained(place: Shop) -> None:
    before = place.tenant("second")["pid"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: f"pid {before}" not in place.serves("second"))
    eventually(lambda: place.tenant("second")["restarts"] == 1)
    assert f"pid {before} hello-1.0 on local" in bus("why", "second", cwd=place.place)
    assert "SIGKILL" in bus("why", "second", cwd=place.place)


def services_are_restarted_alone(place: Shop) -> None:
    tenants = {row["tenant"]: row["pid"] for row in place.json("ps")}
    for name in ("broker", "pathwatch", "dbwatch", "dispatcher", "reactor"):
        before = {row["service"]: row["pid"] for row in place.json("services")}
        assert f"{name}  RUNNING  pid " in bus("service", "restart", name, cwd=place.place)
        after = {row["service"]: row["pid"] for row in place.json("services")}
        assert [each for each in after if after[each] != before[each]] == [name]
    assert bus("service", "stop", "reactor", cwd=place.place).startswith("reactor  STOPPED")
    assert place.service("reactor")["state"] == "STOPPED"
    assert "Hello from first" in place.serves("first")
    assert "reactor  RUNNING" in bus("service", "start", "reactor", cwd=place.place)
    assert {row["tenant"]: row["pid"] for row in place.json("ps")} == tenants


def a_mistake_is_told_and_hurts_nobody(place: Shop) -> None:
    file = place.place / "tenants/second/tenant.toml"
    good, pid = file.read_text(), place.tenant("second")["pid"]
    file.write_text('package = "hello"\nplan = "gold"\n')
    assert f"{file}:2: plan: " in bus("check", cwd=place.place, code=1)
    row = eventually(lambda: (row := place.tenant("second"))["reason"] and row)
    assert (row["state"], row["pid"]) == ("RUNNING", pid)
    assert row["reason"].startswith("tenant.toml:2: plan: ")
    assert "last good settings" in bus("why", "second", cwd=place.place)
    file.write_text(good)
    eventually(lambda: place.tenant("second")["reason"] == "")
    events = bus(
        "tail", "--since", "1m", "--tenant", "second", "--type", "USER_*", "--no-follow", cwd=place.place
    )
    assert "USER_INVALID" in events


def ctrl_c_stops_everything(place: Shop, up: Program) -> None:
    ports = [row["port"] for row in place.json("ps")]
    up.signal(signal.SIGINT)
    assert up.process.wait(DEADLINE) == 0
    assert place.processes() == []
    left = [path.name for path in (place.place / "var/run").iterdir() if path.is_socket()]
    assert left == []
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    for path in (place.place / "var/run").rglob("*"):
        assert not path.is_socket() or is_dead(path)
    assert "is it running?" in complaint("ps", cwd=place.place, code=4)


def is_dead(path: Path) -> bool:
    """A tenant's socket keeps its place for nginx; nobody listens on it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) != 0
