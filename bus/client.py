"""What a service holds: publish, subscribe, replay, latest, commit, over the broker's two sockets."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from bus import codec
from bus.api import Bus, Cause, Snapshot
from bus.errors import BusUnavailableError, DecodeError
from bus.events import AnyEvent, Envelope
from bus.inquirer import Inquirer, Reply
from bus.link import Link
from bus.outbox import Ticket
from bus.publisher import Publisher
from bus.settings import Settings
from bus.subscription import Batch, Feed, LiveSubscription, Part
from bus.wire import Acked, Answer, Commit, Cursor, Head, Item, Latest, Missing, News, Replay, SeqAt

log = logging.getLogger(__name__)

PAGE = 1_000
"""Events asked for in one question."""
NOTICE_AFTER = 2.0
"""Seconds without an answer after which the log says what we wait for."""


async def connect(settings: Settings, source: str, *, within: float | None = None) -> Bus:
    """Connect to the broker; waits for it for ever, or raises BusUnavailableError after `within` seconds."""
    client = Client(settings, source)
    try:
        await client.reach(within)
    except BaseException:
        await client.close()
        raise
    return client


class Client:
    """A Bus, see bus.api; made by `connect`."""

    def __init__(self, settings: Settings, source: str) -> None:
        self.source = source
        self._settings = settings
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._link = self._dial(zmq.DEALER, settings.router_endpoint, self._hear, self._writable)
        self._publisher = Publisher(self._link.send, source)
        self._inquirer = Inquirer(self._link.send)
        self._feed = Feed(self._fetch)
        self._news: Link | None = None
        self._broker = ""
        self._former_brokers: set[str] = set()

    async def reach(self, within: float | None) -> None:
        """Wait until the broker answers; raises BusUnavailableError."""
        endpoint = self._settings.router_endpoint
        notice = asyncio.get_running_loop().call_later(
            NOTICE_AFTER, log.warning, "waiting for the broker at %s", endpoint
        )
        try:
            async with asyncio.timeout(within):
                await self._inquirer.ask(Head)
        except TimeoutError:
            raise BusUnavailableError(endpoint, within or 0.0) from None
        finally:
            notice.cancel()

    def publish(self, event: AnyEvent, *, cause: Cause = 0) -> Ticket:
        return self._publisher.publish(event, cause)

    async def subscribe(
        self, *patterns: str, subject: str = "", after: int | None = None
    ) -> LiveSubscription:
        if self._news is None:
            self._news = self._dial(zmq.SUB, self._settings.pub_endpoint, self._take_news, lambda: None)
        if after is None:
            after = (await self._inquirer.ask(Head)).value
        return self._feed.join(patterns, subject, after)

    async def replay(
        self, *patterns: str, subject: str = "", after: int = 0, limit: int = 1000
    ) -> list[Envelope]:
        found: list[Envelope] = []
        while len(found) < limit:
            part = await self._fetch(patterns, subject, after, limit - len(found))
            found += self._opened(part.items)
            after = part.upto
            if after >= part.head:
                break
        return found

    async def latest(self, *patterns: str, subject: str = "") -> Snapshot:
        reply = await self._inquirer.ask(lambda number: Latest(number, patterns, subject))
        return Snapshot(reply.head, self._opened(self._checked(reply.items)))

    async def seq_at(self, time: float) -> int:
        return (await self._inquirer.ask(lambda number: SeqAt(number, time))).value

    async def commit(self, consumer: str, seq: int) -> None:
        await self._inquirer.ask(lambda number: Commit(number, consumer, seq))

    async def cursor(self, consumer: str) -> int:
        return (await self._inquirer.ask(lambda number: Cursor(number, consumer))).value

    async def flush(self, *, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await self._publisher.flush()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        if self._context.closed:
            return
        await self._feed.close()
        self._publisher.close()
        self._inquirer.close()
        self._link.close()
        if self._news:
            self._news.close()
        self._context.term()

    # ------------------------------------------------------------ sockets

    def _dial(
        self, kind: int, endpoint: str, receive: Callable[[bytes], None], writable: Callable[[], None]
    ) -> Link:
        dialed = self._context.socket(kind)
        dialed.setsockopt(zmq.LINGER, 0)
        dialed.setsockopt(zmq.RECONNECT_IVL, 20)  # milliseconds
        dialed.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        if kind == zmq.SUB:
            dialed.setsockopt(zmq.SUBSCRIBE, b"")
            dialed.setsockopt(zmq.RCVHWM, 200)  # batches; what is dropped then is replayed
        else:
            dialed.setsockopt(zmq.IMMEDIATE, 1)  # while there is no broker, the outbox is our queue
        dialed.connect(endpoint)
        return Link(dialed, receive, writable)

    def _writable(self) -> None:
        self._inquirer.repeat()
        self._publisher.resend()

    def _hear(self, frame: bytes) -> None:
        """The broker answers."""
        try:
            heard = codec.unpack_frame(frame)
        except DecodeError as error:
            self._feed.refuse(error)
            return
        match heard.message:
            case Acked():
                self._publisher.acknowledge(heard.message)
            case Missing(expected):
                self._publisher.missed(expected)
            case Answer(request, value, head):
                self._inquirer.answered(request, Reply(value, head, heard.items))
            case _:
                self._feed.refuse(DecodeError(f"unexpected {heard.message!r}"))

    def _take_news(self, frame: bytes) -> None:
        """The broker tells everybody."""
        try:
            heard = codec.unpack_frame(frame)
        except DecodeError as error:
            self._feed.refuse(error)
            return
        news = heard.message
        if not isinstance(news, News):
            self._feed.refuse(DecodeError(f"unexpected {news!r}"))
        elif news.broker not in self._former_brokers:  # what a dead broker's socket still held comes again
            if news.broker != self._broker:
                self._former_brokers.add(self._broker)
                self._broker = news.broker
                self._writable()
            self._feed.take(Batch(news.prev, news.head, self._checked(heard.items)))

    # ------------------------------------------------------------ items

    async def _fetch(self, patterns: tuple[str, ...], subject: str, after: int, limit: int = PAGE) -> Part:
        reply = await self._inquirer.ask(
            lambda number: Replay(number, patterns, subject, after, min(limit, PAGE))
        )
        return Part(self._checked(reply.items), reply.value, reply.head)

    def _checked(self, items: list[Any]) -> list[Item]:
        checked = []
        for raw in items:
            try:
                checked.append(codec.unpack_item(raw))
            except DecodeError as error:
                self._feed.refuse(error)
        return checked

    def _opened(self, items: Sequence[Item]) -> list[Envelope]:
        opened = []
        for item in items:
            try:
                opened.append(codec.open_item(item))
            except DecodeError as error:
                self._feed.refuse(error)
        return opened
