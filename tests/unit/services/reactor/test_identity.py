"""A process is its pid, its start time and the boot: nothing less is ever signalled."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from msgspec import structs

from services.reactor import identity, tree
from services.reactor.actions import Process
from services.reactor.tenantbus_fork import kernel
from tests.harness import eventually


def ourselves() -> Process:
    found = identity.identify(os.getpid())
    assert found
    return found


def test_identity_is_read_from_the_kernel() -> None:
    process = ourselves()
    assert process.pid == os.getpid()
    assert process.started > 0
    assert identity.identify(2**22) is None  # above the highest pid that Linux gives


def test_a_recycled_pid_is_somebody_else() -> None:
    for other in ({"started": 1}, {"boot": "another"}):
        assert identity.open_pidfd(structs.replace(ourselves(), **other)) is None
        assert not identity.send(structs.replace(ourselves(), **other), signal.SIGKILL)


def test_a_pid_that_is_a_thread_by_now_is_somebody_else() -> None:
    begun, over = threading.Event(), threading.Event()

    def live() -> None:
        begun.set()
        over.wait()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        begun.wait()
        assert thread.native_id
        assert identity.open_pidfd(structs.replace(ourselves(), pid=thread.native_id, started=1)) is None
    finally:
        over.set()
        thread.join()


def test_what_nobody_has_reaped_is_gone() -> None:
    with subprocess.Popen(["true"]) as child:
        process = identity.identify(child.pid)
        assert process
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identity.identify(child.pid) == process
        assert identity.open_pidfd(process) is None
        assert not identity.send(process, signal.SIGKILL)


def test_a_process_lives_as_long_as_one_of_its_threads() -> None:
    leaves_a_thread = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=[600]).start()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{leaves_a_thread}; ctypes.CDLL(None).pthread_exit(None)"]
    ) as child:
        process = identity.identify(child.pid)
        assert process
        eventually(lambda: (kernel.stat(child.pid) or [""])[0] == "Z")
        assert child.pid in tree.Snapshot(()).all()
        assert identity.send(process, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**64])
def test_what_is_no_pid_is_nobody(pid: int) -> None:
    assert identity.open_pidfd(structs.replace(ourselves(), pid=pid)) is None


def test_exactly_the_process_is_signalled() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        process = identity.identify(child.pid)
        assert process
        assert identity.send(process, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert not identity.send(process, signal.SIGKILL)
