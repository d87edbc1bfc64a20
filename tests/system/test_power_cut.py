"""A power cut: everything dies at once, tenants too; what was wanted before is wanted after it."""

import json
import os
import random
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness import Program, eventually
from tests.system.deployment import Deployment

pytestmark = pytest.mark.timeout(180)

APPLICATION = """
import os
from tornado.web import Application, RequestHandler


class Pid(RequestHandler):
    def get(self):
        self.write(str(os.getpid()))


def make_app(tenant):
    if os.environ.get("MOOD") == "crash":
        os._exit(1)
    return Application([("/.*", Pid)])
"""

POLICY = """
[restart]
backoff = 0.05
backoff_max = 0.05
fatal_after = 3
fatal_retry = 600.0
"""

SERVING = ("by-hand", "first", "second")
REASON = "unpaid invoice"


@pytest.fixture(scope="module")
def running() -> Iterator[Deployment]:
    """Tenants that serve, one of them since somebody said so, and some that do not."""
    with Deployment.made() as deployment:
        release = deployment.directory / "packages" / "shop" / "1.0"
        release.mkdir(parents=True)
        (release / "shop.py").write_text(APPLICATION)
        (release / "package.toml").write_text('entry = "shop:make_app"\n')
        with deployment.config.open("a") as config:
            config.write(POLICY)
        deployment.start()
        deployment.add("second", "stopped", text='package = "shop"\n')
        deployment.add("by-hand", "never", text='package = "shop"\nstart = "manual"\n')
        deployment.add("broken", text='package = "shop"\n[env]\nMOOD = "crash"\n')
        eventually(lambda: deployment.ps()["broken"]["state"] == "FATAL", every=0.1)
        deployment.bus("start", "by-hand")
        deployment.bus("stop", "stopped", "--reason", REASON)
        deployment.ready(*SERVING)
        yield deployment


def end_everything(deployment: Deployment) -> None:
    """Stop the time for all, and kill them then: nobody acts on the death of another one."""
    assert deployment.up
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in deployment.leftovers():
            os.kill(pid, number)
    deployment.up.kill()
    eventually(lambda: not deployment.leftovers())


def all_is_as_it_was(deployment: Deployment, *, since: int) -> None:
    deployment.ready(*SERVING)
    rows = settled(deployment)
    assert {name: row["state"] for name, row in rows.items()} == {
        **dict.fromkeys(SERVING, "RUNNING"),
        "stopped": "STOPPED",
        "never": "STOPPED",
        "broken": "FATAL",
    }
    assert rows["stopped"]["reason"].startswith("stop requested by ")
    assert rows["stopped"]["reason"].endswith(f": {REASON}")
    assert rows["never"]["reason"] == 'start = "manual"'
    starts = [each["subject"] for each in events(deployment, "PROC_STARTED", since)]
    assert sorted(starts) == ["broken", *SERVING], "nobody twice, and who was FATAL is on probation"


def settled(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Wait until every tenant is where it stays."""
    rows: dict[str, dict[str, Any]] = {}

    def look() -> bool:
        rows.update(deployment.ps())
        return not {row["state"] for row in rows.values()} & {"STARTING", "BACKOFF", "EXITED", "UNKNOWN"}

    eventually(look, every=0.1)
    return rows


def events(deployment: Deployment, kind: str, since: int) -> list[dict[str, Any]]:
    lines = deployment.bus("tail", "--no-follow", "--json", "--since", str(since), "--type", kind)
    return [json.loads(line) for line in lines.splitlines()]


def head(deployment: Deployment) -> int:
    """Tell the seq of what will be said next, at the earliest."""
    newest = deployment.bus("tail", "--no-follow", "--json").splitlines()[-1]
    return int(json.loads(newest)["seq"]) + 1


def test_run_directory_is_gone(running: Deployment) -> None:
    since = head(running)
    ports = {name: row["port"] for name, row in running.ps().items() if name in SERVING}
    end_everything(running)
    shutil.rmtree(running.directory / "var" / "run")
    running.start()
    all_is_as_it_was(running, since=since)
    assert {name: row["port"] for name, row in running.ps().items() if name in SERVING} == ports
    told = running.bus("why", "stopped")
    assert "STOP_REQUESTED" in told
    assert told.count(REASON) >= 2


def lie(file: Path, stranger: psutil.Process, **facts: object) -> None:
    """Let a process file, and the file for people, name a stranger."""
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"pid": stranger.pid} | facts))
    file.with_name("pid").write_text(f"{stranger.pid}\n")


def started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_stale_files_and_pids_that_are_strangers_now(running: Deployment) -> None:
    """What is left in the run directory and beside tenants is of another boot, half-written or a lie."""
    since = head(running)
    end_everything(running)
    tenants, run = running.directory / "tenants", running.directory / "var" / "run"
    with Program("sleep", "600", cwd=Path("/")) as stranger:
        other = psutil.Process(stranger.pid)
        lies: dict[str, dict[str, object]] = {
            "first": {},  # the pid is in use again
            "second": {"started": started(other.pid), "boot": "of another boot"},
            "by-hand": {"started": started(other.pid)},  # right in all, and none of ours
        }
        for name, facts in lies.items():
            for file in (tenants / name / "run").glob("process~*.json"):
                lie(file, other, **facts)
        (tenants / "second" / "run" / "process~half.json").write_text('{"tenant": "sec')
        (tenants / "second" / "run" / "request.new").write_text('{"seq": 1')
        (tenants / "second" / "run" / "port.new").write_text("84")
        (tenants / "first" / "run" / "process~empty.json").write_bytes(b"")
        for file in (run / "score").iterdir():
            os.truncate(file, 100)
        for file in (*run.glob("*.lock"), *run.glob("http/*.sock"), *run.glob("fork/*.sock")):
            file.unlink()
            file.write_text(f"{other.pid}\n")
        running.start()
        all_is_as_it_was(running, since=since)
        assert stranger.process.poll() is None
        assert other.status() == psutil.STATUS_SLEEPING


def test_ports_that_others_have_meanwhile(running: Deployment) -> None:
    """A stranger was quicker, or a directory was copied: nobody gets another port, and the other is named."""
    port = running.ps()["second"]["port"]
    end_everything(running)
    copy = running.directory / "tenants" / "copy"
    shutil.copytree(running.directory / "tenants" / "first", copy)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        running.start()
        us = f"pid {os.getpid()} ({psutil.Process().name()}) has it"
        eventually(lambda: us in running.ps()["second"]["reason"], every=0.1)
        assert us in running.bus("why", "second")
    eventually(lambda: running.ps()["copy"]["state"] == "FATAL", every=0.1)
    first = running.ps()["first"]["port"]
    assert f"port {first} is that of first, whose file is older" in running.ps()["copy"]["reason"]
    shutil.rmtree(copy)
    running.bus("start", "second")
    running.ready(*SERVING)
    assert running.ps()["second"]["port"] == port


def test_journal_is_gone(running: Deployment) -> None:
    """All but history is kept beside the tenants: above all who was stopped, by whom and why."""
    end_everything(running)
    for file in (running.directory / "var").glob("journal.*"):
        file.unlink()
    running.start()
    rows = settled(running)
    running.ready(*SERVING)
    assert rows["stopped"]["reason"].endswith(f": {REASON}")
    assert REASON in running.bus("why", "stopped")
    running.bus("start", "stopped")
    running.bus("stop", "stopped", "--reason", REASON)
    before = running.pids()["first"]
    running.bus("restart", "first")
    assert running.pids()["first"] != before
    eventually(lambda: running.ps()["broken"]["state"] == "FATAL", every=0.1)


@pytest.mark.parametrize("cut", ["log torn", "log gone"])
def test_journal_is_cut_in_the_middle_of_a_write(running: Deployment, cut: str) -> None:
    """The last that was written never came to the disk: less is known, and nothing wrong."""
    chance = random.Random(cut)
    running.bus("restart", "second", "--no-wait")
    end_everything(running)
    log = running.directory / "var" / "journal.db-wal"
    size = log.stat().st_size
    assert size
    os.truncate(log, chance.randrange(size // 2, size) if cut == "log torn" else 0)
    running.start()
    running.ready(*SERVING)
    settled(running)
    assert running.ps()["stopped"]["reason"].endswith(f": {REASON}")
    assert running.ps()["never"]["state"] == "STOPPED"
