"""Finds out that a program serves which does not say so: it answers an HTTP request."""

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path

from services.reactor import tree

PAUSE, PAUSE_MAX = 0.02, 1.0
"""Seconds between two tries: the first, and the longest."""

ACCEPTING = 0.02
"""Seconds that somebody has to accept a connection."""

ANSWERED = re.compile(rb"HTTP/1\.[01] [1-4]\d\d")


async def until_served(place: Path | int, health: str, is_it: Callable[[], bool]) -> None:
    """Return when GET of `health` on a unix socket, or on a loopback port, is answered without a 5xx.

    `is_it` tells, once the connection is there and nothing was said, whether it is the one meant who answers.
    It waits for ever: who starts processes knows how long that may take.
    """
    pause = PAUSE
    while True:
        try:
            if await _answers(place, health, is_it):
                return
        except OSError:  # nobody listens yet, or not for long
            pass
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_MAX)


def has_accepted(pid: int, name: str) -> bool:
    """Tell whether a process, or one of its session, holds a connection that came in at a unix socket.

    `name` is what the kernel calls the socket: in /proc/net/unix connections are listed by it, state 03.
    """
    table = [line.split() for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()]
    inodes = {f"socket:[{row[6]}]" for row in table if row[5] == "03" and row[7:] == [name]}
    session = [each for each, kin in tree.Snapshot(()).all().items() if kin.session == pid]
    return any(inodes & _descriptors(each) for each in session)


def _descriptors(pid: int) -> set[str]:
    try:
        return {os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH115, PTH208  # as many as it has
    except OSError:  # it ended, or has closed one meanwhile: there is another look
        return set()


async def _answers(place: Path | int, health: str, is_it: Callable[[], bool]) -> bool:
    if isinstance(place, int):
        reader, writer = await asyncio.open_connection("127.0.0.1", place)
    else:
        reader, writer = await asyncio.open_unix_connection(str(place))
    try:
        if not is_it():
            await asyncio.sleep(ACCEPTING)
            if not is_it():
                return False
        writer.write(f"GET {health} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return bool(ANSWERED.match(await reader.readline()))
    finally:
        writer.close()
