"""The broker: journal first, then acknowledge, then publish; it never acts (ADR-0001).

One thread, but for `checkpoints`. Each round takes what has come, writes it as one batch, acknowledges it,
sends it to the subscribers, and answers the questions that came along.
"""

import logging
import secrets
import socket
import time
from pathlib import Path

import zmq

from bus import codec, sdnotify
from bus.errors import DecodeError
from bus.events import AnyEvent
from bus.intake import Intake
from bus.ledger import Ledger
from bus.settings import Settings
from bus.wire import (
    Acked,
    Answer,
    AnyMessage,
    AnyQuestion,
    Commit,
    Cursor,
    Head,
    Latest,
    Missing,
    News,
    Publish,
    Replay,
    SeqAt,
)

log = logging.getLogger(__name__)

ROUND = 100
"""Messages taken in one round, at most: they share a transaction."""
ROUND_EVENTS = 1_000
"""Events after which a round takes no more: others must not wait longer than a few milliseconds."""
PAGE = 1_000
"""Events in one answer, at most."""
BEAT = 1.0
"""Seconds between two beats, which tell subscribers how far they should be."""
TRIM_EVERY = 60.0
RETRY = 2.0
"""Seconds between two tries to write a journal that could not be written."""
DAY = 86_400.0
MAX_MESSAGE = 16 * 1024 * 1024
STRANGERS = 1_000
"""Senders of garbage that are told apart."""


class Broker:
    """Made and used by one thread; `serve` in a loop, then `close`."""

    def __init__(self, settings: Settings) -> None:
        self._ledger = Ledger(settings.journal)
        self._intake = Intake(self._ledger)
        self._retention = settings.bus
        self._name = secrets.token_hex(6)
        self._said = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._endpoints = (settings.router_endpoint, settings.pub_endpoint)
        self._router = self._bind(zmq.ROUTER, settings.router_endpoint)
        self._pub = self._bind(zmq.XPUB, settings.pub_endpoint)
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._pub, zmq.POLLIN)
        self.garbage: dict[bytes, int] = {}
        """Frames that did not fit the protocol, by the sender's connection."""
        self._replies: list[tuple[bytes, Acked | Missing]] = []
        self._questions: list[tuple[bytes, AnyQuestion]] = []
        self._next_beat = self._next_trim = self._next_try = 0.0
        self._watchdog = sdnotify.watchdog_interval()
        self._say_notices()

    def _bind(self, kind: int, endpoint: str) -> "zmq.Socket[bytes]":
        bound = self._context.socket(kind)
        bound.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        bound.setsockopt(zmq.LINGER, 200)  # milliseconds: the last acknowledgements
        if kind == zmq.XPUB:
            bound.setsockopt(zmq.XPUB_VERBOSE, 1)  # tells of each subscriber, not only of the first
            bound.setsockopt(
                zmq.SNDHWM, 200
            )  # batches that wait for a slow subscriber; then it has to replay
        bound.bind(endpoint)
        Path(endpoint.removeprefix("ipc://")).chmod(0o600)
        return bound

    def wake_on(self, descriptor: int) -> None:
        """End a wait in `serve` when this becomes readable."""
        self._poller.register(descriptor, zmq.POLLIN)

    def close(self) -> None:
        self._router.close()
        self._pub.close()
        self._context.term()
        for endpoint in self._endpoints:  # ZeroMQ leaves the files of its sockets behind
            Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
        self._ledger.close()

    def say(self, event: AnyEvent) -> None:
        """Publish an event of our own, with the next round."""
        self._said += 1
        message = Publish(self._name, socket.gethostname(), "broker", oldest=self._said, first=self._said)
        frame = codec.unpack_frame(codec.pack_frame(message, [codec.pack_posted(event, 0)]))
        self._intake.accept(message, frame.items, time.time())

    def _say_notices(self) -> bool:
        notices, self._ledger.notices = self._ledger.notices, []
        for notice in notices:
            self.say(notice)
        return bool(notices)

    def serve(self) -> None:
        """Wait for something to do, at most until the next beat, and do it."""
        wait = max(0.0, min(self._next_beat, self._next_trim, self._next_try) - time.monotonic())
        self._poller.poll(int(wait * 1000) + 1)
        self.round()

    def round(self) -> None:
        self._take_subscribers()
        self._take_messages()
        self._keep_house()
        self._commit()
        for identity, question in self._questions:
            self._answer(identity, question)
        self._questions.clear()
        if self._say_notices():
            self._commit()

    # ------------------------------------------------------------ what comes in

    def _take_subscribers(self) -> None:
        while True:
            try:
                self._pub.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._next_beat = 0.0  # a newcomer should know at once how far the journal is

    def _take_messages(self) -> None:
        for _ in range(ROUND):
            if len(self._intake) >= ROUND_EVENTS:
                return
            try:
                identity, *frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._take(identity, frames)
            except DecodeError as error:
                self._drop(identity, error)

    def _take(self, identity: bytes, frames: list[bytes]) -> None:
        if len(frames) != 1:
            raise DecodeError(f"{len(frames)} frames instead of one")
        frame = codec.unpack_frame(frames[0])
        message = frame.message
        if isinstance(message, Publish):
            self._replies.append((identity, self._intake.accept(message, frame.items, time.time())))
        elif isinstance(message, AnyQuestion):
            self._questions.append((identity, message))
        else:
            raise DecodeError(f"{type(message).__name__} is not for a broker")

    def _drop(self, identity: bytes, error: DecodeError) -> None:
        if len(self.garbage) >= STRANGERS:
            self.garbage.clear()
        if identity not in self.garbage:
            log.warning(
                "connection %s sends what does not fit the protocol (%s); said once",
                identity[:8].hex(),
                error,
            )
        self.garbage[identity] = self.garbage.get(identity, 0) + 1

    # ------------------------------------------------------------ what goes out

    def _commit(self) -> None:
        prev = self._ledger.head
        records = self._intake.take()
        if records:
            self._ledger.append(records)
        for identity, reply in self._replies:
            self._send(identity, reply)
        self._replies.clear()
        if records:
            self._publish(prev, [record.packed for record in records])
        if self._say_notices():
            self._commit()

    def _publish(self, prev: int, items: list[bytes]) -> None:
        self._pub.send(codec.pack_frame(News(self._name, prev, self._ledger.head), items))

    def _send(self, identity: bytes, message: AnyMessage, items: list[bytes] | None = None) -> None:
        try:
            self._router.send_multipart([identity, codec.pack_frame(message, items or [])], zmq.NOBLOCK)
        except zmq.ZMQError as error:  # a client that does not read; it will ask again
            log.debug("no answer to %s: %s", identity.hex(), error)

    def _answer(self, identity: bytes, question: AnyQuestion) -> None:
        value, items = self._look_up(question)
        self._send(identity, Answer(question.request, value, self._ledger.head), items)

    def _look_up(self, question: AnyQuestion) -> tuple[int, list[bytes]]:
        ledger = self._ledger
        value, items = ledger.head, list[bytes]()
        match question:
            case Replay(_, patterns, subject, after, limit):
                page = ledger.replay(patterns, subject, after, min(limit, PAGE))
                value, items = page.upto, page.packed
            case Latest(_, patterns, subject):
                items = [packed for _, packed in sorted(ledger.latest(patterns, subject).values())]
            case SeqAt(_, moment):
                value = ledger.seq_at(moment)
            case Commit(_, consumer, seq):
                ledger.commit({consumer: seq})
            case Cursor(_, consumer):
                value = ledger.cursor(consumer)
            case Head():
                pass
        return value, items

    # ------------------------------------------------------------ from time to time

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + min(BEAT, self._watchdog or BEAT)
            self._ledger.look()
            self._publish(self._ledger.head, [])
            if self._watchdog:
                sdnotify.send("WATCHDOG=1")
        if now >= self._next_try:
            self._next_try = now + RETRY
            self._ledger.restore()
        if now >= self._next_trim:
            self._next_trim = now + (0.0 if self._trim() else TRIM_EVERY)

    def _trim(self) -> bool:
        now = time.time()
        more = self._ledger.trim(
            now - self._retention.retention_days * DAY, self._retention.retention_mb * 2**20
        )
        if not more:
            self._ledger.forget_publishers(now - DAY)
        return more
