"""Visitors who ask one tenant through nginx all the time, and keep account of every answer."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from tests.harness import DEADLINE


class Answer(NamedTuple):
    """What came of one request; `status` is 0 when no answer came."""

    request: str
    status: int
    body: str
    seconds: float


class Visitors(threading.Thread):
    """Several at a time, each with a connection to nginx of its own; the block's end sends them home."""

    def __init__(self, port: int, host: str, targets: Iterator[str], number: int = 8) -> None:
        super().__init__(daemon=True)
        self.answers: list[Answer] = []
        self._port, self._host, self._targets, self._number = port, host, targets, number
        self._over = threading.Event()

    @classmethod
    def getting(cls, port: int, host: str, number: int = 8) -> Self:
        return cls(port, host, itertools.repeat("GET /"), number)

    @classmethod
    def posting(cls, port: int, host: str, number: int = 8) -> Self:
        """Each request has a path of its own."""
        return cls(port, host, (f"POST /count/{each}" for each in itertools.count()), number)

    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def after(self, what: Callable[[], object], count: int = 20) -> None:
        """Do something, and wait until so many more have been answered."""
        what()
        enough = len(self.answers) + count
        end = time.monotonic() + DEADLINE
        while len(self.answers) < enough:
            assert time.monotonic() < end, self.statuses()
            time.sleep(0.005)

    def run(self) -> None:
        asyncio.run(self._visit())

    async def _visit(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._number):
                group.create_task(self._one())

    async def _one(self) -> None:
        while not self._over.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await self._ask(reader, writer)
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask until nginx wants another connection."""
        close = False
        while not close and not self._over.is_set():
            request, begin = next(self._targets), time.monotonic()
            writer.write(f"{request} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: 0\r\n\r\n".encode())
            try:
                async with asyncio.timeout(DEADLINE):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    body = await reader.readexactly(_length(head))
            except (OSError, EOFError, TimeoutError) as error:
                self.answers.append(Answer(request, 0, repr(error), time.monotonic() - begin))
                return
            took = time.monotonic() - begin
            self.answers.append(Answer(request, int(head.split()[1]), body.decode(), took))
            close = "connection: close" in head.lower()

    def __enter__(self) -> Self:
        self.start()
        self.after(lambda: None)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(2 * DEADLINE)


def _length(head: str) -> int:
    return int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
