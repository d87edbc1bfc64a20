"""Tenants that are forked: their life, their surroundings, and every way to end."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from msgspec import structs

from bus.model import Limits
from services.reactor.actions import BecameReady, Ended, Process, Spawned, SpawnFailed
from services.score import Slot
from tests.harness import eventually_async
from tests.integration.forking import KILLED, alive, descriptors, died, release, run, stage


def test_a_tenant_serves_on_its_socket_and_its_port(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            pid = str(spawned.process.pid)
            assert await here.get("acme") == pid
            assert await here.get("acme", port=spawned.port) == pid
            assert (short_dir / "tenants/acme/run/port").read_text() == f"{spawned.port}\n"
            assert (short_dir / "tenants/acme/run/pid").read_text() == f"{pid}\n"
            assert here.score("acme", Slot.PID) == spawned.process.pid
            assert here.score("acme", Slot.STARTED) == spawned.process.started
            assert here.score("acme", Slot.READY_AT)

    run(test())


def test_a_tenant_finds_its_own_surroundings_and_nothing_of_ours(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCHDOG_USEC", "LISTEN_FDNAMES", "TENANTBUS_CONFIG", "DB2_PASSWORD"):
        monkeypatch.setenv(name, "ours")
    extra = '[databases.db2]\nurl = "mysql://u@h/s"\npassword_env = "DB2_PASSWORD"\n'

    async def test() -> None:
        async with stage(short_dir, extra=extra) as here:
            (short_dir / "tenants/acme").mkdir()
            (short_dir / "tenants/acme/secrets.env").write_text("# keys\nAPI_KEY=s3=cret\n")
            spawned = await here.start(
                "acme", plan="paid", env={"COLOUR": "red"}, limits=Limits(open_files=600)
            )
            about = json.loads(await here.get("acme", "/about"))
            await here.start("other")
            other = json.loads(await here.get("other", "/about"))
            url = f"sqlite:///{short_dir}/var/db1.db"
            assert (about["name"], about["release"], about["plan"]) == ("acme", "plain-1.0", "paid")
            assert about["settings"] == {"COLOUR": "red"}
            assert about["database_url"] == url
            environ = about["environ"]
            expected = {
                "TENANT": "acme",
                "DATABASE_URL": url,
                "PORT": str(spawned.port),
                "COLOUR": "red",
                "API_KEY": "s3=cret",
                "LISTEN_FDS": "2",
                "LISTEN_PID": str(spawned.process.pid),
                "LISTEN_FDNAMES": "unix:tcp",
            }
            assert {name: environ[name] for name in expected} == expected
            assert not environ.keys() & {"WATCHDOG_USEC", "TENANTBUS_CONFIG", "DB2_PASSWORD"}
            assert about["directory"] == str(short_dir / "tenants/acme")
            assert about["session"] == spawned.process.pid
            assert about["open_files"] == 600
            assert other["random"] != about["random"]
            assert "API_KEY" not in other["environ"]
            assert about["ours"] == []
            shared = descriptors(here.fork_servers()[0].pid, first=512) & set(about["descriptors"].values())
            assert shared <= {about["descriptors"]["3"], about["descriptors"]["4"]}
            assert not [each for each in about["descriptors"].values() if "/score/" in each]
            pipes = {each for each in about["descriptors"].values() if each.startswith("pipe:")}
            assert pipes <= descriptors(here.fork_servers()[0].pid)
            assert "s3=cret" not in here.log("fork-plain-1.0.log")

    run(test())


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/segv", (None, "SIGSEGV")), ("/7", (7, "")), ("/0", (0, ""))],
)
def test_how_a_process_ended_is_told(short_dir: Path, path: str, expected: tuple[int | None, str]) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            _, writer = await here.connect("acme")
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            ended = await here.told(Ended, "acme")
            writer.close()
            assert ended.process == spawned.process
            assert died(ended) == expected
            assert here.score("acme", Slot.EXITED_AT)

    run(test())


def test_connections_wait_while_no_process_runs(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            first = await here.start("acme")
            os.kill(first.process.pid, signal.SIGKILL)
            assert died(await here.told(Ended, "acme")) == KILLED
            waiting = [asyncio.create_task(here.get("acme", port=port)) for port in (0, first.port, 0)]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in waiting)
            second = await here.start("acme")
            assert second.port == first.port
            assert set(await asyncio.gather(*waiting)) == {str(second.process.pid)}

    run(test())


def test_sigterm_finishes_what_was_asked(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            reader, writer = await here.connect("acme")
            writer.write(b"GET /slow HTTP/1.1\r\nHost: acme\r\n\r\n")
            await eventually_async(lambda: here.score("acme", Slot.IN_FLIGHT) == 1)
            here.forks.terminate(spawned.process, "acme")
            answer = await reader.read()
            assert answer.endswith(str(spawned.process.pid).encode())
            writer.close()
            assert died(await here.told(Ended, "acme")) == (0, "")
            assert here.score("acme", Slot.STOPPING_AT)
            assert here.score("acme", Slot.REQUESTS) == 1

    run(test())


def test_restarts_under_load_fail_nobody(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            served: set[str] = set()
            resting = False

            async def customer(port: int) -> int:
                asked = 0
                while not resting:
                    served.add(await here.get("acme", "/slow" if asked == 0 else "/", port))
                    asked += 1
                return asked

            customers = [asyncio.create_task(customer(port)) for port in (0, 0, spawned.port, spawned.port)]
            for _ in range(5):
                await asyncio.sleep(0.05)
                here.forks.terminate(spawned.process, "acme")
                assert died(await here.told(Ended, "acme")) == (0, "")
                spawned = await here.start("acme")
            resting = True
            asked = await asyncio.gather(*customers)
            assert all(count > 5 for count in asked)
            assert len(served) > 1

    run(test())


def test_kept_connections_are_closed_with_the_next_answer(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            slow, slow_writer = await here.connect("acme")
            kept, kept_writer = await here.connect("acme")
            kept_writer.write(b"GET / HTTP/1.1\r\nHost: acme\r\n\r\n")
            assert b"Connection: close" not in await kept.readuntil(b"\r\n\r\n")
            slow_writer.write(b"GET /slow HTTP/1.1\r\nHost: acme\r\n\r\n")
            await eventually_async(lambda: here.score("acme", Slot.IN_FLIGHT) == 1)
            here.forks.terminate(spawned.process, "acme")
            await eventually_async(lambda: here.score("acme", Slot.STOPPING_AT) and True)
            await asyncio.sleep(0.1)  # its loop turns to the signal
            kept_writer.write(b"GET / HTTP/1.1\r\nHost: acme\r\n\r\n")
            assert b"Connection: close" in await kept.read()
            assert b"200 OK" in await slow.read()
            for writer in (slow_writer, kept_writer):
                writer.close()
            assert died(await here.told(Ended, "acme")) == (0, "")

    run(test())


def test_websockets_are_counted_and_told_to_go(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            reader, writer = await here.connect("acme")
            writer.write(
                b"GET /echo HTTP/1.1\r\nHost: acme\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            pid = str(spawned.process.pid).encode()
            assert await reader.readexactly(2 + len(pid)) == bytes([0x81, len(pid)]) + pid
            await eventually_async(lambda: here.score("acme", Slot.WEBSOCKETS) == 1)
            await eventually_async(lambda: here.score("acme", Slot.IN_FLIGHT) == 0)
            here.forks.terminate(spawned.process, "acme")
            frame = await reader.readexactly(4)
            assert (frame[0], int.from_bytes(frame[2:], "big")) == (0x88, 1001)
            writer.write(bytes([0x88, 0x82, 0, 0, 0, 0]) + frame[2:])
            assert died(await here.told(Ended, "acme")) == (0, "")
            writer.close()

    run(test())


def test_the_score_tells_of_errors_stops_and_busy_loops(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            status, _ = await here.fetch("acme", "/fail")
            assert status == 500
            await eventually_async(lambda: here.score("acme", Slot.ERRORS) == 1)
            assert "as asked" in here.output("acme")
            await eventually_async(lambda: here.score("acme", Slot.BUSY_SINCE) == 0)
            os.kill(spawned.process.pid, signal.SIGSTOP)
            await eventually_async(lambda: here.score("acme", Slot.STOPPED_SINCE) != 0)
            os.kill(spawned.process.pid, signal.SIGCONT)
            await eventually_async(lambda: here.score("acme", Slot.STOPPED_SINCE) == 0)
            _, writer = await here.connect("acme")
            writer.write(b"GET /block HTTP/1.0\r\n\r\n")

            async def stays_busy() -> bool:
                since = here.score("acme", Slot.BUSY_SINCE)
                await asyncio.sleep(0.1)
                return since != 0 and here.score("acme", Slot.BUSY_SINCE) == since

            await eventually_async(stays_busy)
            os.kill(spawned.process.pid, signal.SIGQUIT)
            await eventually_async(lambda: "in get" in here.output("acme"))
            writer.close()

    run(test())


def test_an_idle_tenant_is_left_asleep(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            await here.get("acme")
            await asyncio.sleep(0.2)

            def switches() -> list[str]:
                status = Path(f"/proc/{spawned.process.pid}/status").read_text()
                return [line for line in status.splitlines() if "ctxt_switches" in line]

            before = switches()
            await asyncio.sleep(1.5)
            assert switches() == before

    run(test())


def test_nothing_of_a_killed_tenant_is_left(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            neighbour = await here.start("other")
            theirs = json.loads(await here.get("other", "/daemons"))
            pids = json.loads(await here.get("acme", "/daemons"))
            here.forks.kill(spawned.process, "acme")
            assert died(await here.told(Ended, "acme")) == KILLED
            assert not [pid for pid in pids if alive(pid)]
            assert all(alive(pid) for pid in theirs)
            os.kill(neighbour.process.pid, signal.SIGKILL)
            await here.told(Ended, "other")
            assert not [pid for pid in theirs if alive(pid)]

    run(test())


def test_nothing_is_left_of_many_that_are_killed_at_once(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            tenants = [f"acme-{number}" for number in range(8)]
            processes = [(await here.start(tenant)).process for tenant in tenants]
            neighbour = (await here.start("other")).process
            theirs = json.loads(await here.get("other", "/daemons"))
            left = [pid for tenant in tenants for pid in json.loads(await here.get(tenant, "/daemons"))]
            for process in processes:
                os.kill(process.pid, signal.SIGKILL)
            for tenant in tenants:
                assert died(await here.told(Ended, tenant)) == KILLED
            assert not [pid for pid in left if alive(pid)]
            assert all(alive(pid) for pid in theirs)
            here.forks.kill(neighbour, "other")
            await here.told(Ended, "other")

    run(test())


@pytest.mark.parametrize(("setting", "code"), [("refuse", 3), ("leave", 4)])
def test_an_application_that_will_not_be_made(short_dir: Path, setting: str, code: int) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            here.ask("acme", env={setting: "4"})
            await here.told(Spawned, "acme")
            assert died(await here.told(Ended, "acme")) == (code, "")
            if setting == "refuse":
                assert "RuntimeError: 4" in here.output("acme")

    run(test())


def test_an_entry_that_does_not_import_names_the_place(short_dir: Path) -> None:
    async def test() -> None:
        broken = release("unimportable", entry="unimportable_app:make_app")
        async with stage(short_dir) as here:
            for _ in range(2):  # each time the release is tried anew
                here.ask("acme", broken)
                here.ask("other", broken)
                for tenant in ("acme", "other"):
                    failed = await here.told(SpawnFailed, tenant)
                    assert failed.never
                    assert "LookupError: no such thing" in failed.reason
                    assert "unimportable_app.py:3" in failed.reason

    run(test())


def test_a_callable_that_is_not_there(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            here.ask("acme", release("plain", entry="plain_app:make_up"))
            failed = await here.told(SpawnFailed, "acme")
            assert failed.never
            assert "no callable 'make_up'" in failed.reason

    run(test())


def test_an_interpreter_that_is_not_there(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            here.ask("acme", release("plain", entry="plain_app:make_app", python="venv/bin/python"))
            failed = await here.told(SpawnFailed, "acme")
            assert failed.never
            assert "venv/bin/python" in failed.reason

    run(test())


def test_bad_secrets_are_told_without_their_content(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            (short_dir / "tenants/acme").mkdir()
            (short_dir / "tenants/acme/secrets.env").write_text("A=1\nhunter2\n")
            here.ask("acme")
            failed = await here.told(SpawnFailed, "acme")
            assert failed.never
            assert failed.reason.endswith("secrets.env:2: is no KEY=VALUE")

    run(test())


def test_a_second_process_for_a_tenant_is_refused(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            here.ask("acme")
            here.ask("acme")
            assert "being started" in (await here.told(SpawnFailed, "acme")).reason
            spawned = await here.told(Spawned, "acme")
            await here.told(BecameReady, "acme")
            here.ask("acme")
            assert f"pid {spawned.process.pid}" in (await here.told(SpawnFailed, "acme")).reason

    run(test())


def test_the_end_of_what_is_gone_is_told_to_who_asks(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            gone = Process(pid=os.getpid(), started=1, boot="other")
            here.forks.terminate(gone, "acme")
            assert (await here.told(Ended, "acme")).process == gone

    run(test())


def test_a_forgotten_tenant_leaves_no_file(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            here.forks.kill(spawned.process, "acme")
            await here.told(Ended, "acme")
            here.forks.forget("acme")
            assert not list((short_dir / "tenants/acme/run").iterdir())
            assert not here.settings.http_socket("acme").exists()
            assert not here.settings.score_page("acme").exists()
            await here.start("acme")
            await here.get("acme")

    run(test())


def test_a_fork_server_needs_no_room_for_its_log(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            log = here.settings.state_dir / "log" / "fork-plain-1.0.log"
            log.unlink(missing_ok=True)
            log.symlink_to("/dev/full")
            await here.start("acme")
            await here.get("acme")

    run(test())


def test_a_changed_release_gets_a_new_fork_server(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            first = release("plain", entry="plain_app:make_app")
            old = await here.start("old", first)
            await here.start("new", structs.replace(first, stamp="s2"))
            assert len(here.fork_servers()) == 2
            found = await here.begin_again()
            assert {each.tenant for each in found} == {"old", "new"}
            here.forks.kill(old.process, "old")
            await here.told(Ended, "old")
            await eventually_async(lambda: len(here.fork_servers()) == 1)

    run(test())


def test_a_fork_server_ends_when_nobody_has_anything_from_it_any_more(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            one = release("plain", entry="plain_app:make_app")
            two = structs.replace(one, release="plain-2.0", version="2.0")
            stopped = await here.start("stopped", one)
            here.forks.kill(stopped.process, "stopped")
            await here.told(Ended, "stopped")
            old = await here.start("acme", one)
            here.forks.spawn(structs.replace(here.order("acme", two), beside=old.process), two)
            new = await here.told(Spawned, "acme")
            here.forks.terminate(old.process, "acme")
            assert (await here.told(Ended, "acme")).process == old.process
            found = await here.begin_again()
            assert [each.process for each in found] == [new.process]
            assert len(here.fork_servers()) == 2  # one has the sockets of a tenant that is stopped
            await here.start("stopped", two)
            await eventually_async(lambda: len(here.fork_servers()) == 1)
            here.forks.forget("nobody")
            assert await here.get("acme") == str(new.process.pid)
            back = await here.start("late", one)  # and there is one again for who wants one
            assert await here.get("late") == str(back.process.pid)

    run(test())
