"""Writes down what can be found out about a tenant that does not work, before it is ended.

One text file for each verdict, ours alone. There are never many: the oldest go. What a process has in its
environment or in its memory is not looked at, so that no secret gets here.
"""

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bus.events import ProcStuck
from bus.log_reader import Log
from services.dispatcher import kernel
from services.dispatcher.kinds import Sample
from services.dispatcher.stack import NoStackError, read, stack

log = logging.getLogger(__name__)

KEEP, KEEP_EACH = 500, 5
"""Files that are kept: in all, and of one tenant."""

LISTED = 200
"""Lines of a list that are written down at most."""

SIZE = 100_000
"""Characters of a file, at most."""

LOG_BYTES = 4096
"""How much of the log's end is of interest."""

LOOKED_AT = 2000
"""Descriptors of a process that are looked at, at most: each takes 30 us, in which nobody else is watched."""


class Scene(NamedTuple):
    """What was seen already: two looks at the threads."""

    before: Sample
    now: Sample


class Evidence:
    """The files in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def collect(self, stuck: ProcStuck, scene: Scene, printed: Log) -> str:
        """Write down everything about the process; gives the file's path.

        "" when it cannot be written: a verdict does not wait for a disk.
        """
        try:
            said = _last_lines(printed)  # before the stack, which comes into the same log
            parts = [
                _title(stuck),
                _threads(scene),
                _section("Stack of every thread", await _stack(stuck, printed)),
                _section("Last lines of its log", said),
                _section("Open files", _listed(_files(stuck.pid)) or "none that we may see"),
                _section("Connections", _listed(_connections(stuck.pid)) or "none that we may see"),
            ]
            return self._write(stuck.tenant, "\n".join(parts))
        except OSError as error:
            log.warning("%s: no evidence: %s", stuck.tenant, error)
            return ""

    def _write(self, tenant: str, text: str) -> str:
        """Raises OSError."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._make_room(tenant)
        stamp = (
            time.strftime("%Y%m%dT%H%M%S", time.localtime()) + f".{time.time_ns() // 1_000_000 % 1000:03d}"
        )
        file = self._directory / f"{tenant}~{stamp}.txt"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(
            os.open(file, flags, 0o600), "w", encoding="utf-8", errors="backslashreplace"
        ) as written:
            written.write(text[:SIZE])
        return str(file)

    def _make_room(self, tenant: str) -> None:
        """Remove the oldest files, so that there is room for one more."""
        files = sorted(self._directory.glob("*~*.txt"), key=lambda file: file.name.partition("~")[2])
        own = [file for file in files if file.name.startswith(f"{tenant}~")]
        for file in {*_all_but_the_last(KEEP_EACH - 1, own), *_all_but_the_last(KEEP - 1, files)}:
            file.unlink(missing_ok=True)


def _all_but_the_last(count: int, files: list[Path]) -> list[Path]:
    return files[: max(0, len(files) - count)]


def _title(stuck: ProcStuck) -> str:
    facts = (
        ("tenant", stuck.tenant),
        ("kind", stuck.kind),
        ("reason", stuck.reason),
        ("stuck for", f"{stuck.stuck_for:g} s"),
        ("at", time.strftime("%Y-%m-%d %H:%M:%S %z")),
        ("process", f"pid {stuck.pid}, started {stuck.started} ticks after boot"),
        ("release", stuck.release),
        ("database", stuck.database),
    )
    return "\n".join(f"{name:<10} {value}" for name, value in facts if value) + "\n"


def _section(title: str, text: str) -> str:
    return f"--- {title}\n{text.rstrip()}\n"


def _threads(scene: Scene) -> str:
    """What each thread did between the two looks."""
    known = {thread.number: thread for thread in scene.before.threads}
    seconds = scene.now.at - scene.before.at
    lines = []
    for thread in scene.now.threads:
        before = known.get(thread.number, thread)
        lines.append(
            f"{thread.number:>8}  state {thread.state}, wchan {thread.wchan},"
            f" ran {thread.ran - before.ran:.3f} s,"
            f" waited {thread.waited - before.waited:.3f} s for a processor,"
            f" went to sleep {thread.naps - before.naps} times"
        )
    return _section(f"Threads, in the last {seconds:.2f} s", "\n".join(lines))


async def _stack(stuck: ProcStuck, log: Log) -> str:
    try:
        return await stack(stuck.pid, stuck.started, log)
    except NoStackError as error:
        return f"none: {error}"


def _last_lines(log: Log) -> str:
    end = log.end()
    text = read(log, max(0, end - LOG_BYTES))
    return text.partition("\n")[2] if end > LOG_BYTES else text


def _files(pid: int) -> Iterator[str]:
    """Descriptors with what they lead to; sockets and the like are counted."""
    alike: Counter[str] = Counter()
    directory = Path(f"/proc/{pid}/fd")
    with suppress(OSError):  # it has ended, or is not ours to look at
        numbers = sorted(map(int, os.listdir(directory)))  # noqa: PTH208 - names alone
        if len(numbers) > LOOKED_AT:
            yield f"{len(numbers)} in all, of which the first {LOOKED_AT} are:"
        for number in numbers[:LOOKED_AT]:
            with suppress(OSError):  # closed meanwhile
                target = str((directory / str(number)).readlink())
                if target.startswith("/"):
                    yield f"{number:>5}  {target}"
                else:
                    alike[target.partition(":[")[0]] += 1
    yield from (f"{count:>5}  times {what}" for what, count in alike.most_common())


def _connections(pid: int) -> Iterator[str]:
    files = kernel.files(pid)
    if files and files.count > LOOKED_AT:
        yield f"not looked at, among {files.count} descriptors"
        return
    # psutil raises RuntimeError at a line of /proc/net/unix that it cannot read, which anybody can make: the
    # name of a socket may have a line break in it
    with suppress(psutil.Error, RuntimeError, ValueError):
        for each in psutil.Process(pid).net_connections(kind="all"):
            kind = f"{socket.AddressFamily(each.family).name} {socket.SocketKind(each.type).name}"
            status = "" if each.status == psutil.CONN_NONE else each.status
            yield f"{each.fd:>5}  {kind} {_address(each.laddr)} {_address(each.raddr)} {status}".rstrip()


def _address(address: Any) -> str:
    return str(address or "-") if isinstance(address, str) or not address else f"{address[0]}:{address[1]}"


def _listed(lines: Iterable[str]) -> str:
    """Join lines, but not more than anybody reads."""
    kept = list(islice(lines, LISTED + 1))
    if len(kept) > LISTED:
        kept[-1] = "... and more"
    return "\n".join(kept)
