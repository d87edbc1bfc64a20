"""The command with a real broker: what it shows, what it says when something is wrong, its exit codes."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from bus import settings as settings_file
from bus.api import Bus
from bus.client import connect
from bus.events import (
    AnyEvent,
    BrakeOff,
    BrakeOn,
    DbUp,
    JournalDegraded,
    JournalRestored,
    ProcBackoff,
    ProcExited,
    ProcReady,
    ProcStarted,
    ProcStopped,
    RestartRequested,
    ServiceUp,
    StopRequested,
    UserAdded,
    UserInvalid,
)
from bus.model import TenantSettings
from bus.settings import Settings
from tests.commandline import BUS, bus, complaint, run
from tests.harness import DEADLINE, Program, eventually

T = TypeVar("T")

QUICK = 0.2
"""Seconds that a command may take to start."""


@pytest.fixture
def place(short_dir: Path) -> Path:
    bus("init", ".", cwd=short_dir)
    return short_dir


@pytest.fixture
def settings(place: Path) -> Settings:
    return settings_file.load(place / "tenantbus.toml")


@pytest.fixture
def broker(settings: Settings) -> Iterator[Program]:
    with Program.module("bus", Path(settings.file)) as program:
        eventually(lambda: Path(settings.router_endpoint.removeprefix("ipc://")).exists())
        yield program


def on_bus(settings: Settings, work: Callable[[Bus], Awaitable[T]]) -> T:
    async def main() -> T:
        connection = await connect(settings, source="test", within=DEADLINE)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(main())


def say(settings: Settings, *history: tuple[AnyEvent, int]) -> list[int]:
    """Publish events, each caused by the one so many places before it (0: by nothing); gives their seqs."""

    async def work(connection: Bus) -> list[int]:
        seqs: list[int] = []
        for event, back in history:
            seqs.append(await connection.publish(event, cause=seqs[-back] if back else 0))
        return seqs

    return on_bus(settings, work)


def added(name: str) -> UserAdded:
    return UserAdded(tenant=name, path=f"/t/{name}", settings=TenantSettings(package="hello"), stamp="s")


ACME = (
    (added("acme"), 0),
    (ProcStarted(tenant="acme", pid=7, release="hello-1.0", database="local", port=8400), 1),
    (ProcReady(tenant="acme", pid=7, release="hello-1.0", database="local", port=8400), 1),
)


# ---------------------------------------------------------------- start-up


def test_it_starts_quickly(settings: Settings, broker: Program) -> None:
    for arguments in (["--help"], ["ps"], ["tail", "--no-follow"]):
        times = []
        for _ in range(10):
            began = time.monotonic()
            run(*arguments, cwd=settings.root)
            times.append(time.monotonic() - began)
        assert min(times) < QUICK, arguments


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        ("--help", "asyncio msgspec msgpack zmq tornado psutil pymysql sqlite3 services packaging"),
        ("ps --help", "tornado psutil pymysql sqlite3 services packaging"),
        ("tail --help", "tornado psutil pymysql sqlite3 services packaging"),
        ("check --help", "asyncio zmq msgpack tornado psutil pymysql sqlite3 services"),
        ("init --help", "asyncio zmq msgpack tornado psutil pymysql sqlite3 services"),
    ],
)
def test_it_imports_no_more_than_it_needs(place: Path, arguments: str, unwanted: str) -> None:
    script = (
        f"import sys; sys.argv = ['bus', *{arguments.split()!r}]\n"
        "from cli.main import main\n"
        "main(); print(*(m for m in sys.modules if m.isidentifier()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE,
    )
    assert set(done.stderr.split()).isdisjoint(unwanted.split())


# ---------------------------------------------------------------- what it shows


def test_the_brake_is_seen_where_one_looks_first(settings: Settings, broker: Program) -> None:
    brake = BrakeOn(count=1, tenants=("acme",), reason="1 of 1 tenants")
    say(settings, *ACME, (brake, 0))
    assert "brake on since" in run("ps", cwd=settings.root).stderr
    assert not run("ps", "--json", cwd=settings.root).stderr
    assert "the brake is on" in bus("why", "acme", cwd=settings.root)
    say(settings, (BrakeOff(reason="few are"), 0))
    assert not run("ps", cwd=settings.root).stderr
    assert "the brake is on" not in bus("why", "acme", cwd=settings.root)


def test_a_journal_that_cannot_be_written_is_seen_where_one_looks_first(
    settings: Settings, broker: Program
) -> None:
    file = str(settings.journal)
    say(settings, *ACME, (JournalDegraded(journal=file, reason="disk is full"), 0))
    told = run("ps", cwd=settings.root).stderr
    assert "journal not written since" in told
    assert f"disk is full. Is there room for {file}?" in told
    say(settings, (JournalRestored(journal=file, reason="1 event"), 0))
    assert not run("ps", cwd=settings.root).stderr


def test_the_present(settings: Settings, broker: Program) -> None:
    wrong = UserInvalid(tenant="bad", file="/t/bad/tenant.toml", key="plan", line=3, reason="no", stamp="s")
    backoff = ProcBackoff(tenant="zeta", reason="ended by SIGSEGV", failures=2, retry_in=60.0)
    up = DbUp(database="local", reason="answers")
    me = ServiceUp(service="reactor", pid=99, version="1")
    say(settings, *ACME, (wrong, 0), (added("zeta"), 0), (backoff, 0), (up, 0), (me, 0))
    rows = {row["tenant"]: row for row in json.loads(bus("ps", "--json", cwd=settings.root))}
    assert {name: row["state"] for name, row in rows.items()} == {
        "acme": "RUNNING",
        "bad": "INVALID",
        "zeta": "BACKOFF",
    }
    assert rows["bad"]["reason"] == "tenant.toml:3: plan: no"
    assert (rows["acme"]["pid"], rows["acme"]["port"]) == (7, 8400)
    shown = bus("ps", cwd=settings.root)
    assert [line.split()[0] for line in shown.splitlines()] == ["TENANT", "acme", "bad", "zeta"]
    assert "\x1b" not in shown
    assert bus("ps", "a*", "zeta", "--json", cwd=settings.root).count('"tenant"') == 2
    (database,) = json.loads(bus("db", "--json", cwd=settings.root))
    assert (database["state"], database["tenants"]) == ("UP", 1)
    services = {row["service"]: row for row in json.loads(bus("services", "--json", cwd=settings.root))}
    assert (services["reactor"]["state"], services["reactor"]["pid"]) == ("RUNNING", 99)
    assert services["broker"]["pid"] == broker.pid
    assert services["dbwatch"]["state"] == "UNKNOWN"


def test_nothing_yet(settings: Settings, broker: Program) -> None:
    done = run("ps", cwd=settings.root)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no tenants yet" in done.stderr
    assert json.loads(bus("ps", "--json", cwd=settings.root)) == []


def test_why_tells_the_chain_and_what_to_do(settings: Settings, broker: Program) -> None:
    seqs = say(settings, *ACME, (RestartRequested(tenant="other", by="you@there"), 0))
    chain = json.loads(bus("why", "acme", "--json", cwd=settings.root))
    assert [event["seq"] for event in chain] == seqs[:3]
    shown = bus("why", "acme", cwd=settings.root)
    assert [line.split()[2] for line in shown.splitlines()[:3]] == [
        "USER_ADDED",
        "PROC_STARTED",
        "PROC_READY",
    ]
    assert "acme is RUNNING since" in shown
    assert "Nothing to do" in shown
    assert "did you mean acme?" in complaint("why", "acne", cwd=settings.root, code=1)


def test_why_fits_on_a_screen_and_begins_with_the_last_stop_of_everything(
    settings: Settings, broker: Program
) -> None:
    stopped = (ProcStopped(tenant="acme", reason="tenantbus is being stopped"), 1)
    crash = ((ProcExited(tenant="acme", pid=7, code=1), 1), *ACME[1:])
    seqs = say(settings, *ACME, stopped, *ACME[1:], *crash * 10)
    began = seqs[len(ACME)]
    chain = json.loads(bus("why", "acme", "--json", cwd=settings.root))
    assert [event["seq"] for event in chain] == list(range(began, seqs[-1] + 1))
    shown, _, _ = bus("why", "acme", cwd=settings.root).partition("\n\n")
    lines = shown.splitlines()
    assert len(lines) <= 20
    assert "tenantbus is being stopped" in lines[0]
    assert any(f"({len(chain) - len(lines) + 1} more; " in line for line in lines)
    assert "no more" not in shown


def test_tail_looks_back_by_time_by_seq_by_type_and_by_tenant(settings: Settings, broker: Program) -> None:
    seqs = say(settings, *ACME, *((added(f"t{n}"), 0) for n in range(20)))

    def seen(*arguments: str) -> list[int]:
        output = bus("tail", "--no-follow", "--json", *arguments, cwd=settings.root)
        return [json.loads(line)["seq"] for line in output.splitlines()]

    assert seen() == seqs[-10:]
    assert seen("--since", str(seqs[5])) == seqs[5:]
    assert seen("--since", "10m") == [1, *seqs]
    assert seen("--since", "1", "--type", "PROC_*", "--type", "db_up") == seqs[1:3]
    assert seen("--since", "1", "--tenant", "acme") == seqs[:3]
    assert seen("--since", "1", "--tenant", "acme", "--type", "USER_ADDED") == seqs[:1]
    assert seen("--since", "999999") == []
    lines = bus("tail", "--no-follow", "--since", "1", cwd=settings.root).splitlines()
    assert lines[3].endswith(f"on local port 8400  <- {seqs[1]}")


def test_tail_follows_over_the_death_of_the_broker(settings: Settings, broker: Program) -> None:
    first = say(settings, *ACME)
    with Program(BUS, "tail", "--json", "--since", "1", cwd=settings.root) as tail:
        eventually(lambda: f'"seq":{first[-1]}' in tail.output)
        broker.kill()
        with Program.module("bus", Path(settings.file)):
            last = say(settings, *((added(f"t{n}"), 0) for n in range(5)))
            eventually(lambda: f'"seq":{last[-1]}' in tail.output)
            seqs = [json.loads(line)["seq"] for line in tail.output.splitlines() if line.startswith("{")]
            assert seqs == list(range(1, last[-1] + 1))
            tail.signal(signal.SIGINT)
            assert tail.process.wait(DEADLINE) == 130
            assert "Traceback" not in tail.output


# ---------------------------------------------------------------- what it asks for


def test_a_request_waits_for_what_it_causes(settings: Settings, broker: Program) -> None:
    """The test plays the reactor: it starts acme, and lets zeta fail."""
    say(settings, (added("acme"), 0), (added("zeta"), 0), (added("spare"), 0))

    async def play(connection: Bus) -> None:
        requests = await connection.subscribe("RESTART_REQUESTED")
        asking = await asyncio.create_subprocess_exec(
            BUS, "restart", "acme", "z*", "--timeout", "20", cwd=settings.root, stdout=subprocess.PIPE
        )
        async with asyncio.timeout(DEADLINE):
            for _ in range(2):
                request = await anext(requests)
                assert isinstance(request.event, RestartRequested)
                assert "@" in request.event.by
                if request.subject == "acme":
                    started = connection.publish(ProcStarted(tenant="acme", pid=8), cause=request.seq)
                    connection.publish(ProcReady(tenant="acme", pid=8), cause=started)
                else:
                    failed = ProcBackoff(tenant="zeta", reason="boom", failures=1, retry_in=1.0)
                    connection.publish(failed, cause=request.seq)
            output, _ = await asking.communicate()
        assert sorted(line.split()[:2] for line in output.decode().splitlines()) == [
            ["acme", "RUNNING"],
            ["zeta", "BACKOFF"],
        ]
        assert asking.returncode == 1

    on_bus(settings, play)


def test_a_request_does_not_wait_for_ever_or_not_at_all(settings: Settings, broker: Program) -> None:
    say(settings, (added("acme"), 0), (ServiceUp(service="reactor", pid=99, version="1"), 0))
    assert "not within 0.2 s" in bus("start", "acme", "--timeout", "0.2", cwd=settings.root, code=1)
    (row,) = json.loads(bus("stop", "--all", "--no-wait", "--json", cwd=settings.root))
    assert (row["tenant"], row["state"]) == ("acme", "REQUESTED")
    asked = bus("tail", "--since", "1", "--type", "*_REQUESTED", "--no-follow", cwd=settings.root)
    assert [line.split()[2] for line in asked.splitlines()] == ["START_REQUESTED", "STOP_REQUESTED"]


def test_nothing_is_asked_for_when_one_name_is_wrong(settings: Settings, broker: Program) -> None:
    say(settings, (added("acme"), 0))
    assert "did you mean acme?" in complaint("stop", "acme", "acm", cwd=settings.root, code=1)
    assert bus("tail", "--since", "1", "--type", "STOP_REQUESTED", "--no-follow", cwd=settings.root) == ""


def test_a_request_that_is_overtaken_says_by_whom(settings: Settings, broker: Program) -> None:
    say(settings, (added("acme"), 0))
    with Program(BUS, "start", "acme", cwd=settings.root) as start:

        async def play(connection: Bus) -> None:
            async for _ in await connection.subscribe("START_REQUESTED", after=0):
                connection.publish(StopRequested(tenant="acme", by="you@there"))
                connection.publish(ProcStopped(tenant="acme", by="you@there"))
                await connection.flush(within=DEADLINE)
                return

        on_bus(settings, play)
        assert start.process.wait(DEADLINE) == 1
        assert "overtaken by STOP_REQUESTED of you@there" in start.output
        assert "the reactor does not run" in start.output


# ---------------------------------------------------------------- when something is wrong


def test_without_a_broker(place: Path) -> None:
    for arguments in (["ps"], ["start", "x"], ["services"]):
        assert "is it running?" in complaint(*arguments, cwd=place, code=4)
    assert "no `bus up` runs" in complaint("service", "restart", "dbwatch", cwd=place, code=1)
    assert "did you mean dbwatch?" in complaint("service", "restart", "dbwach", cwd=place, code=1)


def test_settings_that_are_missing_or_wrong(place: Path, tmp_path: Path) -> None:
    assert "bus init DIR" in complaint("ps", cwd=tmp_path, code=3)
    assert "no/such.toml" in complaint("-c", "no/such.toml", "ps", cwd=place, code=3)
    assert "no/such.toml" in complaint("ps", "-c", "no/such.toml", cwd=place, code=3)
    done = run("ps", cwd=place, env={"TENANTBUS_CONFIG": "elsewhere.toml"})
    assert done.returncode == 3
    assert "elsewhere.toml" in done.stderr
    (place / "tenantbus.toml").write_text("[bus]\nretention_day = 1\n")
    for command in ("db", "up"):
        line = complaint(command, cwd=place, code=3)
        assert line.endswith("tenantbus.toml:2: bus.retention_day: unknown key")
    assert "2: bus.retention_day: unknown key" in bus("check", cwd=place, code=1)
    (place / "tenantbus.toml").write_text("[paths]\nstat = 1\n")
    assert "2: paths.stat: unknown key" in complaint("ps", cwd=place, code=3)


def test_settings_that_are_wrong_elsewhere_do_not_blind_who_looks(
    settings: Settings, broker: Program
) -> None:
    say(settings, *ACME)
    with Path(settings.file).open("a") as config:
        config.write("\n[nonsense]\n")
    for arguments in (["ps"], ["why", "acme"], ["services"], ["tail", "--no-follow"]):
        done = run(*arguments, cwd=settings.root)
        assert done.returncode == 0
        assert "nonsense: unknown key; it does not matter for this command" in done.stderr
    assert "RUNNING" in run("ps", cwd=settings.root).stdout


def test_wrong_usage_is_one_line(place: Path) -> None:
    assert complaint("pss", cwd=place, code=2).startswith(
        "bus: there is no command 'pss'; did you mean `ps`?"
    )
    assert "bus ps --help" in complaint("ps", "--jsn", cwd=place, code=2)
    assert "name a tenant" in complaint("restart", cwd=place, code=2)


def test_who_has_read_enough_gets_no_complaint(settings: Settings, broker: Program) -> None:
    say(settings, *((added(f"t{n}"), 0) for n in range(2000)))
    command = f"{BUS} tail --since 1 --no-follow | head -1"
    done = subprocess.run(
        command, shell=True, cwd=settings.root, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_colours_are_for_terminals(settings: Settings, broker: Program) -> None:
    say(settings, *ACME)

    def on_terminal(**env: str) -> bytes:
        master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "", **env}
        subprocess.run(
            [BUS, "ps"], cwd=settings.root, stdout=slave, env=environment, check=True, timeout=DEADLINE
        )
        os.close(slave)
        shown = os.read(master, 65_536)
        os.close(master)
        return shown

    assert b"\x1b[32mRUNNING" in on_terminal()
    assert b"\x1b" not in on_terminal(NO_COLOR="1")


# ---------------------------------------------------------------- a starting point


def test_init_overwrites_nothing(place: Path) -> None:
    (place / "tenantbus.toml").write_text("mine")
    assert "is there already" in complaint("init", ".", cwd=place, code=1)
    assert (place / "tenantbus.toml").read_text() == "mine"


def test_init_says_what_to_do_next_and_check_finds_nothing(short_dir: Path) -> None:
    assert "cd shop && bus up" in bus("init", "shop", cwd=short_dir)
    assert bus("check", cwd=short_dir / "shop") == ""
    (short_dir / "shop/tenants/first/tenant.toml").write_text('package = "hallo"\n')
    (row,) = json.loads(bus("check", "--json", cwd=short_dir / "shop", code=1))
    assert (row["line"], row["key"]) == (1, "package")


def test_init_says_so_where_it_could_not_run(short_dir: Path) -> None:
    assert "paths.run" in complaint("init", "x" * 80, cwd=short_dir, code=1)
