"""What belongs to a tenant's process, told by its place in the tree and by what it has inherited."""

import os
import subprocess
from pathlib import Path

from services.reactor import identity, tree
from services.reactor.actions import Process
from tests.harness import eventually

MARKS = tree.Marks("acme", Path("/run/x"), Path("/run/x/score/.acme~1"), 1)
MARKED = {"TENANT": "acme", "TENANT_PID": "1", "NOTIFY_SOCKET": "@/run/x/fork/n1"}


def pids(main: Process, parent: int = 0) -> set[int]:
    return {process.pid for process in tree.members(main, parent, MARKS, ())}


def test_children_belong_to_it_in_whatever_session() -> None:
    with subprocess.Popen(["sh", "-c", "setsid sleep 600 & wait"], start_new_session=True) as main:
        process = identity.identify(main.pid)
        assert process
        eventually(lambda: len(pids(process)) == 2)
        tree.kill(tree.members(process, 0, MARKS, ()))
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
            assert pids(recycled, parent=os.getpid()) == {stranger.pid}  # a child of the fork server's own
        finally:
            stranger.kill()


def test_a_parent_without_strange_children_has_nothing_left_behind() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            assert tree.may_have_orphans(os.getpid(), ())
            assert not tree.may_have_orphans(child.pid, ())
        finally:
            child.kill()
    assert tree.may_have_orphans(2**22, ())
