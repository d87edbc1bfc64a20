"""The asking half of a client: questions are harmless, so they are asked again until there is an answer."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from bus import codec
from bus.errors import BusError
from bus.wire import AnyQuestion

PATIENCE = 0.5
"""Seconds after which a question is asked again; doubled each time, up to MAX."""
PATIENCE_MAX = 4.0


class Reply(NamedTuple):
    """See bus.wire.Answer."""

    value: int
    head: int
    items: list[Any]


class Inquirer:
    def __init__(self, send: Callable[[bytes], bool]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[bytes, asyncio.Future[Reply]]] = {}

    async def ask(self, question: Callable[[int], AnyQuestion]) -> Reply:
        """Ask until answered, for ever; raises BusError when the bus is closed meanwhile."""
        number = next(self._numbers)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._open[number] = (codec.pack_frame(question(number)), answer)
        try:
            return await self._insist(number)
        finally:
            del self._open[number]

    async def _insist(self, number: int) -> Reply:
        packed, answer = self._open[number]
        patience = PATIENCE
        while True:
            self._send(packed)
            done, _ = await asyncio.wait([answer], timeout=patience)
            if done:
                return answer.result()
            patience = min(2 * patience, PATIENCE_MAX)

    def repeat(self) -> None:
        """Ask again what is open: the broker can be reached again."""
        for packed, _ in list(self._open.values()):
            self._send(packed)

    def answered(self, number: int, reply: Reply) -> None:
        _, answer = self._open.get(number, (b"", None))
        if answer and not answer.done():
            answer.set_result(reply)

    def close(self) -> None:
        for _, answer in self._open.values():
            if not answer.done():
                answer.set_exception(BusError("the bus is closed"))
