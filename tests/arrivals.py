"""New connections to one tenant at a steady rate, whatever becomes of them: open loop, as customers come."""

import asyncio
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tests.harness import DEADLINE

RATE = 200
"""Connections a second."""

BEFORE = 0.5
AFTER = 0.5
"""Seconds of visits around what happens to the tenant."""


class Outcome(Enum):
    ANSWERED = "answered"
    """By a whole 200."""
    REFUSED = "refused"
    """Nobody listened."""
    FAILED = "failed"
    """Cut off, answered with an error, or not answered in time."""


class Visit(NamedTuple):
    """One connection, one request; `began` and `ended` are monotonic seconds."""

    outcome: Outcome
    began: float
    ended: float


def during(
    what: Callable[[], object],
    address: Path | int,
    host: str = "acme.localhost",
    *,
    rate: int = RATE,
    after: float = AFTER,
) -> list[Visit]:
    """Visit a unix socket or a loopback port while `what` happens, and a while before and after."""
    return asyncio.run(_during(what, address, host, rate, after))


async def _during(
    what: Callable[[], object], address: Path | int, host: str, rate: int, after: float
) -> list[Visit]:
    over = asyncio.Event()
    arrivals = asyncio.create_task(_arrive(over, address, host, rate))
    await asyncio.sleep(BEFORE)
    try:
        await asyncio.to_thread(what)
        await asyncio.sleep(after)
    finally:
        over.set()
    return await arrivals


async def _arrive(over: asyncio.Event, address: Path | int, host: str, rate: int) -> list[Visit]:
    visits = []
    begin = time.monotonic()
    while not over.is_set():
        visits.append(asyncio.create_task(_visit(address, host)))
        await asyncio.sleep(max(0.0, begin + len(visits) / rate - time.monotonic()))
    return await asyncio.gather(*visits)


async def _visit(address: Path | int, host: str) -> Visit:
    began = time.monotonic()
    try:
        if isinstance(address, Path):
            reader, writer = await asyncio.open_unix_connection(address)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", address)
    except OSError:
        return Visit(Outcome.REFUSED, began, time.monotonic())
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(DEADLINE):
            answer = await reader.read()
    except (OSError, TimeoutError):
        answer = b""
    finally:
        writer.close()
    outcome = Outcome.ANSWERED if _is_whole(answer) else Outcome.FAILED
    return Visit(outcome, began, time.monotonic())


def _is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return head.startswith(b"HTTP/1.1 200 ") and len(body) == int(length)
