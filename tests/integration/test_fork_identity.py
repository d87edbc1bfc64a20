"""Who a tenant says that it is, before its application sees the question."""

import asyncio
import json
from pathlib import Path

import pytest

from services.score import Slot
from tests.harness import DEADLINE, eventually_async
from tests.integration.forking import Stage, run, stage

QUESTION = b"GET /-/identity HTTP/1.1\r\nHost: acme\r\nUser-Agent: test\r\nConnection: close\r\n\r\n"


async def answer(here: Stage, *parts: bytes) -> dict[str, object]:
    """Ask in so many parts; gives the answer's body."""
    reader, writer = await here.connect("acme")
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.05 * (len(parts) > 1))  # so that each is a packet of its own
    async with asyncio.timeout(DEADLINE):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    told: dict[str, object] = json.loads(body)
    return told


@pytest.mark.parametrize(
    "parts", [(QUESTION,), (QUESTION[:30], QUESTION[30:]), (QUESTION.replace(b"close", b"Close"),)]
)
def test_tells_who_it_is_however_it_is_asked(short_dir: Path, parts: tuple[bytes, ...]) -> None:
    """At once if the question is there when the connection is accepted, else like any other request."""

    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            before = here.score("acme", Slot.REQUESTS)
            told = await answer(here, *parts)
            assert told == {
                "tenant": "acme",
                "release": "plain-1.0",
                "database": "db1",
                "port": spawned.port,
                "pid": spawned.process.pid,
            }
            await eventually_async(lambda: here.score("acme", Slot.REQUESTS) == before + 1)

    run(test())


def test_whoever_leaves_in_the_middle_of_the_question_harms_nobody(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme")
            for length in (0, 10, len(QUESTION) - 1, len(QUESTION)):
                _, writer = await here.connect("acme")
                writer.write(QUESTION[:length])
                writer.transport.abort()
            assert (await answer(here, QUESTION))["pid"] == spawned.process.pid

    run(test())
