"""Finds out that a program serves which does not say so: it answers an HTTP request."""

import asyncio
import re
from pathlib import Path

PAUSE, PAUSE_MAX = 0.02, 1.0
"""Seconds between two tries: the first, and the longest."""

ANSWERED = re.compile(rb"HTTP/1\.[01] [1-4]\d\d")


async def until_served(place: Path | int, health: str) -> None:
    """Return when GET of `health` on a unix socket, or on a loopback port, is answered without a 5xx.

    It waits for ever: who starts processes knows how long that may take.
    """
    pause = PAUSE
    while True:
        try:
            if ANSWERED.match(await _ask(place, health)):
                return
        except OSError:  # nobody listens yet, or not for long
            pass
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_MAX)


async def _ask(place: Path | int, health: str) -> bytes:
    if isinstance(place, int):
        reader, writer = await asyncio.open_connection("127.0.0.1", place)
    else:
        reader, writer = await asyncio.open_unix_connection(str(place))
    try:
        writer.write(f"GET {health} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return await reader.readline()
    finally:
        writer.close()
