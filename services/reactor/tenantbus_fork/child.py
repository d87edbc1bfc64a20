"""What a process does between fork and being the tenant's: everything of the fork server is let go of."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

from . import kernel, source
from .runtime import LISTEN_BEGIN, NEVER

EXEC_ARGUMENT = "--tenant"
PAGE_AT = 5
ORDER_AT = 6
"""Descriptors of score page and order in a process that was started by exec."""

NAMES = ("unix", "tcp")


class Birth(NamedTuple):
    """What a child needs to know: its order, its sockets, its score page, and when it may go."""

    order: dict[str, Any]
    """What others may know; `private` has the rest."""
    sockets: list[int]
    page: int
    numbers: memoryview
    """The same page, mapped."""
    private: int
    may_go: int


def settle_in(birth: Birth) -> None:
    """Become a process of its own.

    Ends the process when the fork server died before it could write down that we exist.
    """
    if not os.read(birth.may_go, 1):
        os._exit(1)
    os.close(birth.may_go)
    order = birth.order
    order.update(_read_private(birth.private))
    os.setsid()
    for directory in order["cgroups"]:
        Path(directory, "cgroup.procs").write_text("0", encoding="ascii")
    _take_descriptors(birth)
    for number, value in order["limits"]:
        resource.setrlimit(number, (value, value))
    os.chdir(order["directory"])
    _drop_rights(order)
    os.environ.update(order["env"], NOTIFY_SOCKET=order["notify"])
    os.environ["TENANT_PID"] = str(os.getpid())  # marks all that we start as ours, not our successor's
    os.environ["LISTEN_FDS"] = str(order["sockets"])
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDNAMES"] = ":".join(NAMES[: order["sockets"]])
    if order["watchdog"]:
        os.environ["WATCHDOG_USEC"] = str(order["watchdog"])
        os.environ["WATCHDOG_PID"] = str(os.getpid())


def _take_descriptors(birth: Birth) -> None:
    """0 to 2: nothing and the log; 3 and 4: sockets; 5: the score page; of the fork server's own, none."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    log = os.open(birth.order["log"], flags, 0o600)
    if birth.order["user"]:
        os.fchown(log, *birth.order["user"])  # or nobody could open /dev/stdout again
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for number, descriptor in enumerate(birth.sockets, LISTEN_BEGIN):
        os.dup2(descriptor, number, inheritable=False)
    os.dup2(birth.page, PAGE_AT, inheritable=False)
    kernel.close_own()


def _read_private(descriptor: int) -> dict[str, Any]:
    """Take what the fork server has passed on unread: in its memory, every later tenant could find it."""
    private: dict[str, Any] = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    return private


def _drop_rights(order: dict[str, Any]) -> None:
    """Become the tenant's own user, for good; raises OSError, and the process must end then."""
    os.umask(0o077)
    if order["user"]:
        uid, gid = order["user"]
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)  # all capabilities go with it (capabilities(7))
    kernel.give_up_privileges()
    if order["user"]:
        _see_what_is_needed(order["needs"])


def _see_what_is_needed(directories: list[str]) -> None:
    """Say what the tenant's user may not read: its own things, or what it may still have to import."""
    kept = [each for each in (*directories, sys.base_prefix) if not os.access(each, os.R_OK | os.X_OK)]
    for directory in kept:
        sys.stderr.write(f"{directory}: user {os.getuid()} may not read this directory, or one above it\n")
    sys.stderr.flush()
    if set(kept) & {*directories}:
        os._exit(NEVER)


def run_command(order: dict[str, Any]) -> None:
    """Become the program of a `command`; never returns."""
    for number in range(LISTEN_BEGIN, LISTEN_BEGIN + order["sockets"]):
        os.set_inheritable(number, True)
    _default_signals()
    command = order["command"]
    try:
        os.execvp(command[0], command)  # noqa: S606  # starting programs is what this is for
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(NEVER)


def run_interpreter(order: dict[str, Any]) -> None:
    """Become a new interpreter that imports the entry and serves; never returns."""
    descriptor = os.memfd_create("order")
    with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
        json.dump(order, file)
    os.dup2(descriptor, ORDER_AT)
    for number in (*range(LISTEN_BEGIN, LISTEN_BEGIN + order["sockets"]), PAGE_AT, source.AT):
        os.set_inheritable(number, True)
    _default_signals()
    os.execv(sys.executable, [sys.executable, "-I", source.PROGRAM, EXEC_ARGUMENT])  # noqa: S606


def read_order() -> dict[str, Any]:
    """Take the order that `run_interpreter` left, and keep what it passed from our own children."""
    text = Path(f"/proc/self/fd/{ORDER_AT}").read_text(encoding="utf-8")
    os.close(ORDER_AT)
    order: dict[str, Any] = json.loads(text)
    for number in (*range(LISTEN_BEGIN, LISTEN_BEGIN + order["sockets"]), PAGE_AT, source.AT):
        fcntl.fcntl(number, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return order


def _default_signals() -> None:
    """Undo what Python ignores: other programs expect these to end them."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
