"""Tells whoever connects how things stand, as one JSON document (`bus.queue_table`).

The socket is for our own user alone. Asking changes nothing, and a reader that does not read is left alone.
"""

import asyncio
import socket
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from bus.queue_table import Place, QueueName, QueueTable
from services.dispatcher.brake import Position
from services.dispatcher.decide import Case
from services.dispatcher.queues import TimeQueue
from services.dispatcher.rounds import HttpRounds
from services.dispatcher.watch import Watch

READS_WITHIN = 5.0
"""Seconds that a reader has."""


class Teller:
    """A server that answers before it is asked anything."""

    def __init__(self, path: Path, table: Callable[[], QueueTable]) -> None:
        self._path = path
        self._table = table
        self._server: asyncio.Server

    async def open(self) -> None:
        """Begin to answer; raises OSError."""
        listener = socket.socket(socket.AF_UNIX)
        with suppress(FileNotFoundError):
            self._path.unlink()
        listener.bind(str(self._path))
        self._path.chmod(0o600)  # before it listens: nobody has connected yet
        self._server = await asyncio.start_unix_server(self._answer, sock=listener)

    def close(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)

    async def _answer(self, _: StreamReader, writer: StreamWriter) -> None:
        writer.write(msgspec.json.encode(self._table()))
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(READS_WITHIN):
                await writer.wait_closed()
        writer.transport.abort()


def table(rounds: HttpRounds, watch: Watch, watched: int, look: float) -> QueueTable:
    """Put together how things stand now."""
    queues, cases = rounds.round, watch.cases
    now = asyncio.get_running_loop().time()
    to_wall = time.time() - now
    held = watch.brake.next_at if watch.brake.position is Position.ON else 0.0
    by_page = {tenant: max(watch.verdict_at(case), held) for tenant, case in cases.items() if case.by_page}

    def places(name: QueueName, queue: TimeQueue) -> Iterator[Place]:
        standing = [(tenant, at) for tenant, at in queue if tenant not in by_page]
        if name == "suspect":
            standing = sorted([*standing, *by_page.items()], key=lambda each: each[1])
        for number, (tenant, at) in enumerate(standing, 1):
            reason = _suspicion(cases[tenant]) if tenant in cases else ""
            yield Place(tenant=tenant, queue=name, place=number, due=at + to_wall, reason=reason)

    suspect = list(places("suspect", queues.suspect))
    in_flight = list(places("in flight", queues.in_flight))
    due = list(places("due", queues.due))
    return QueueTable(
        watched=watched,
        due=len(due),
        in_flight=len(in_flight),
        suspect=len(suspect),
        brake=watch.brake.position.value,
        look=look,
        places=[*suspect, *in_flight, *due],
    )


def _suspicion(case: Case) -> str:
    return f"{case.claim.value}, convicted" if case.convicted else case.claim.value
