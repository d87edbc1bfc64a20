"""What belongs to a tenant's process, told by its place in the tree and by what it has inherited."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from services.reactor import identity, tree
from services.reactor.actions import Process
from tests.harness import eventually

MARKS = tree.Marks("acme", Path("/run/x"), Path("/run/x/score/.acme~1"), 1)
MARKED = {"TENANT": "acme", "TENANT_PID": "1", "NOTIFY_SOCKET": "@/run/x/fork/n1"}


def members(main: Process, fork_server: int = 0) -> list[Process]:
    return tree.members(tree.Snapshot(()), main, fork_server, MARKS)


def pids(main: Process, fork_server: int = 0) -> set[int]:
    return {process.pid for process in members(main, fork_server)}


def test_children_belong_to_it_in_whatever_session() -> None:
    with subprocess.Popen(["sh", "-c", "setsid sleep 600 & wait"], start_new_session=True) as main:
        process = identity.identify(main.pid)
        assert process
        eventually(lambda: len(pids(process)) == 2)
        tree.kill(members(process))
        main.wait()
        assert pids(process) == set()


def test_strays_are_known_by_their_environment() -> None:
    gone = Process(pid=2**22, started=1, boot=identity.boot_id())
    cases = (
        (MARKED, True),
        ({**MARKED, "TENANT": "acme2"}, False),
        ({**MARKED, "NOTIFY_SOCKET": "@/run/y/fork/n1"}, False),
        ({"TENANT": "acme"}, False),
        ({**MARKED, "TENANT_PID": "2"}, False),  # its successor's, or its predecessor's
    )
    for env, belongs in cases:
        with subprocess.Popen(["/bin/sleep", "600"], env=env) as stray:
            try:
                assert (stray.pid in pids(gone)) is belongs
            finally:
                stray.kill()


def test_the_number_of_a_session_alone_proves_nothing() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        recycled = Process(pid=stranger.pid, started=1, boot=identity.boot_id())
        try:
            assert pids(recycled) == set()
            assert pids(recycled, fork_server=os.getpid()) == {
                stranger.pid
            }  # a child of the fork server's own
        finally:
            stranger.kill()


def test_near_is_what_is_below_and_what_nobody_known_has_left() -> None:
    with (
        subprocess.Popen(["sh", "-c", "sleep 600 & wait"]) as main,
        subprocess.Popen(["sleep", "600"]) as left,
        subprocess.Popen(["sh", "-c", "sleep 600 & wait"]) as known,
    ):
        each = (main, left, known)
        try:
            below = {one.pid: eventually(partial(child_of, one.pid)) for one in (main, known)}
            near = tree.Snapshot([known.pid]).near([main.pid], os.getpid())
            assert near
            assert near.keys() >= {main.pid, below[main.pid], left.pid}
            assert not near.keys() & {known.pid, below[known.pid]}
        finally:
            for pid in below.values():
                os.kill(pid, signal.SIGKILL)
            for one in each:
                one.kill()


def test_the_children_of_other_threads_are_near() -> None:
    code = (
        "import subprocess, threading as t\n"
        "t.Thread(target=lambda: subprocess.run(['sleep', '600'])).start()\n"
        "t.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as main:
        try:
            child = eventually(lambda: child_of(main.pid))
            near = tree.Snapshot([main.pid]).near([main.pid], os.getpid())
            assert near
            assert child in near
            os.kill(child, signal.SIGKILL)
        finally:
            main.kill()


def test_who_has_no_fork_server_is_looked_for_everywhere() -> None:
    assert tree.Snapshot(()).near([os.getpid()], 2**22) is None


def child_of(pid: int) -> int:
    children = tree.Snapshot(()).children(pid)
    return min(children) if children else 0
