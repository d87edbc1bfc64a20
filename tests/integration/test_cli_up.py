"""`bus up` when things go wrong: services that crash, hang or cannot start, and its own bad end."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bus import lock
from tests.commandline import BUS, bus, complaint
from tests.harness import DEADLINE, Program, eventually
from tests.upping import Shop, shop

HUNG_AFTER = "3"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def place() -> Iterator[Shop]:
    with shop() as made:
        yield made


def running(place: Shop, tenant: str = "first") -> int:
    def pid() -> int:
        row = place.tenant(tenant)
        return int(row["pid"]) if row["state"] == "RUNNING" else 0

    return eventually(pid, every=0.1)


def test_services_that_crash_hang_or_cannot_start(place: Shop) -> None:
    with place.up("--hung-after", HUNG_AFTER) as up:
        tenant = running(place)

        crashed = place.service("dbwatch")["pid"]
        hung = place.service("dispatcher")["pid"]
        os.kill(hung, signal.SIGSTOP)
        os.kill(crashed, signal.SIGKILL)
        eventually(lambda: place.service("dbwatch")["pid"] not in {crashed, None}, every=0.1)
        assert place.service("dbwatch")["restarts"] == 1
        told = f"pid {crashed}, ended by SIGKILL"
        assert told in bus("tail", "--since", "1", "--type", "SERVICE_DOWN", "--no-follow", cwd=place.place)

        eventually(lambda: place.service("dispatcher")["pid"] not in {hung, None}, every=0.1)
        assert "hung: no sign of life for 3 s" in up.output

        bus("service", "stop", "pathwatch", cwd=place.place)
        held = lock.hold(place.place / "var/run/pathwatch.lock", "pathwatch")
        assert f"pid {os.getpid()}" in bus("service", "start", "pathwatch", cwd=place.place, code=1)
        row = place.service("pathwatch")
        assert (row["state"], row["pid"], row["restarts"]) == ("FATAL", None, 0)
        assert "already running" in row["reason"]
        os.close(held)
        assert "RUNNING" in bus("service", "start", "pathwatch", cwd=place.place)

        broker = place.service("broker")["pid"]
        os.kill(broker, signal.SIGKILL)
        eventually(lambda: place.service("broker")["pid"] not in {broker, None}, every=0.1)
        assert running(place) == tenant
    assert up.process.returncode == 0


def test_settings_put_right_bring_back_who_found_them_wrong(place: Shop) -> None:
    file = place.place / "tenantbus.toml"
    good = file.read_text()
    with place.up() as up:
        tenant, dbwatch = running(place), place.service("dbwatch")["pid"]
        file.write_text(f"{good}\nnonsense = 1\n")
        os.kill(dbwatch, signal.SIGKILL)
        eventually(lambda: "nonsense: unknown key (ended with exit code 3)" in up.output)
        file.write_text(good)
        eventually(lambda: place.service("dbwatch")["state"] == "RUNNING", every=0.1)
        assert running(place) == tenant


def test_who_starts_a_service_without_a_broker_is_told_what_it_waits_for(place: Shop) -> None:
    with place.up():
        bus("service", "stop", "broker", cwd=place.place)
        restarting = Program(BUS, "service", "restart", "dbwatch", cwd=place.place)
        with restarting:
            eventually(lambda: "the broker is STOPPED; dbwatch waits for it" in restarting.output)
            assert "RUNNING" in bus("service", "start", "broker", cwd=place.place)
            assert restarting.process.wait(DEADLINE) == 0
            assert "RUNNING" in restarting.output


def test_garbage_on_the_control_socket_is_answered_and_harms_nobody(place: Shop) -> None:
    with place.up():
        for garbage, answer in (
            (b"\x00\xff\n", b"not understood"),
            (b'{"verb": "explode"}\n', b"not understood"),
            (b'{"verb": "stop", "service": "nosuch"}\n', b"there is no service"),
            (b"[" * 100_000, b""),
            (b"", b""),
        ):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(place.place / "var/run/up.sock"))
                with suppress(BrokenPipeError):
                    connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    assert answer in connection.recv(4096)
        assert [row["state"] for row in place.json("services")] == ["RUNNING"] * 5
        assert (place.place / "var/run/up.sock").stat().st_mode & 0o777 == 0o600


def test_the_death_of_bus_up_ends_the_services_and_no_tenant(place: Shop) -> None:
    with place.up() as up:
        tenant = running(place)
        up.kill()
    with place.up():
        assert running(place) == tenant
        assert place.tenant("first")["restarts"] == 0
        assert f"pid {tenant}" in place.serves("first")


def test_ctrl_c_while_it_starts_stops_the_tenants_that_a_former_one_has_left(place: Shop) -> None:
    with place.up() as up:
        running(place)
        up.kill()
    with Program(BUS, "up", cwd=place.place) as up:
        eventually(lambda: "broker      RUNNING" in up.output)
        eventually(lambda: b"services.reactor" in commands(place), every=0.001)
        up.signal(signal.SIGINT)
        assert up.process.wait(2 * DEADLINE) == 0
        assert "Traceback" not in up.output
        assert place.processes() == []


def commands(place: Shop) -> list[bytes]:
    """Give all words of what runs there."""
    found: list[bytes] = []
    for pid in place.processes():
        with suppress(OSError):
            found += Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return found


def test_a_second_ctrl_c_does_not_wait_and_says_that_tenants_run_on(place: Shop) -> None:
    with place.up() as up:
        tenant = running(place)
        os.kill(place.service("reactor")["pid"], signal.SIGSTOP)
        up.signal(signal.SIGINT)
        eventually(lambda: "stopping the tenants" in up.output)
        up.signal(signal.SIGINT)
        assert up.process.wait(DEADLINE) == 1
        assert "tenants may run on" in up.output
        assert f"pid {tenant}" in place.serves("first")
    with place.up("--quiet") as up:
        assert running(place) == tenant
        assert "USER_ADDED" not in up.output


def test_a_terminal_that_is_closed_stops_everything_however_often_it_says_so(place: Shop) -> None:
    with place.up() as up:
        running(place)
        reactor = place.service("reactor")["pid"]
        os.kill(reactor, signal.SIGSTOP)
        for _ in range(3):
            up.signal(signal.SIGHUP)
            eventually(lambda: "SIGHUP: stopping the tenants" in up.output)
        os.kill(reactor, signal.SIGCONT)
        assert up.process.wait(DEADLINE) == 0
        assert place.processes() == []
        assert [path for path in (place.place / "var/run").rglob("*") if path.is_socket()] == []


def test_a_hung_reactor_does_not_keep_ctrl_c_waiting(place: Shop) -> None:
    with place.up("--hung-after", HUNG_AFTER) as up:
        running(place)
        os.kill(place.service("reactor")["pid"], signal.SIGSTOP)
        up.signal(signal.SIGINT)
        assert up.process.wait(DEADLINE) == 1
        assert "tenants may run on" in up.output
    with place.up():
        pass


def test_ctrl_c_does_not_wait_for_a_broker_that_is_stopped(place: Shop) -> None:
    with place.up() as up:
        tenant = running(place)
        bus("service", "stop", "broker", cwd=place.place)
        asking = Program(BUS, "service", "restart", "reactor", cwd=place.place)
        eventually(lambda: place.service("reactor")["state"] == "STARTING", every=0.1)
        up.signal(signal.SIGINT)
        assert up.process.wait(DEADLINE) == 1, "nobody was there to stop the tenants"
        assert "tenants may run on" in up.output
        assert asking.process.wait(DEADLINE) == 1
        assert f"pid {tenant}" in place.serves("first")
    with place.up():
        assert running(place) == tenant


def test_it_waits_for_services_that_are_about_to_end(place: Shop) -> None:
    with Program.module("bus", place.place / "tenantbus.toml") as former:
        eventually((place.place / "var/run/bus.pub").exists)
        with Program(BUS, "up", cwd=place.place) as up:
            eventually(
                lambda: f"waiting: broker is already running: {lock_of(place)} is held by" in up.output
            )
            former.stop()
            eventually(lambda: "all services run" in up.output)
            assert f"pid {up.pid}" in complaint("up", cwd=place.place, code=3)
            assert up.stop() == 0


def lock_of(place: Shop) -> Path:
    return place.place / "var/run/broker.lock"


def test_it_is_ready_as_systemd_understands_it(place: Shop) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place.place / "manager"))
        manager.settimeout(DEADLINE)
        env = {"NOTIFY_SOCKET": str(place.place / "manager")}
        with Program(BUS, "up", cwd=place.place, env=env) as up:
            assert manager.recv(100) == b"READY=1"
            assert "RUNNING" in place.service("reactor")["state"]
            up.signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert up.process.wait(DEADLINE) == 0


def test_a_bus_up_that_was_stopped_itself_takes_nobody_for_hung(place: Shop) -> None:
    with place.up("--hung-after", HUNG_AFTER) as up:
        before = place.json("services")
        up.signal(signal.SIGSTOP)
        time.sleep(1.5 * float(HUNG_AFTER))
        up.signal(signal.SIGCONT)
        assert place.json("services") == before
        assert "hung" not in up.output


def test_a_run_directory_that_is_removed_is_made_anew(place: Shop) -> None:
    run = place.place / "var/run"
    with place.up() as up:
        tenant, services = running(place), place.json("services")
        shutil.rmtree(run)
        eventually(lambda: f"somebody has removed {run}: it is made anew" in up.output)
        eventually((run / "up.sock").exists)
        eventually(lambda: running(place) != tenant, every=0.1)
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(run / "http/first.sock"))
        assert "Hello" in place.serves("first")
        assert {row["state"] for row in place.json("services")} == {"RUNNING"}
        assert not {row["pid"] for row in services} & {row["pid"] for row in place.json("services")}
        assert "not ready" not in up.output
    assert up.process.returncode == 0
