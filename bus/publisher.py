"""The publishing half of a client: everything is sent until the broker has acknowledged it."""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable

from bus import codec
from bus.api import Cause
from bus.errors import BusError
from bus.events import AnyEvent
from bus.outbox import Outbox, Ticket
from bus.wire import Acked, Publish

log = logging.getLogger(__name__)

PATIENCE = 0.5
"""Seconds without an acknowledgement after which everything is sent again; doubled each time, up to MAX."""
PATIENCE_MAX = 8.0


class Publisher:
    def __init__(self, send: Callable[[bytes], bool], source: str) -> None:
        self._send, self._source = send, source
        self._instance = secrets.token_hex(6)
        self._node = socket.gethostname()
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._published = 0
        self._lost = 0
        self._missed = 0
        self._pumping: asyncio.Handle | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._patience = PATIENCE

    def publish(self, event: AnyEvent, cause: Cause) -> Ticket:
        try:
            packed = codec.pack_posted(event, self._number(cause))
        except ValueError as error:
            log.exception("not published")
            return self._failed(Ticket(self._instance, 0), str(error))
        self._published += 1
        ticket = Ticket(self._instance, self._published)
        self._give_up(self._outbox.add(ticket, packed))
        if self._pumping is None:  # all that is published in one turn of the loop goes out together
            self._pumping = self._loop.call_soon(self._pump_now)
        return ticket

    def _number(self, cause: Cause) -> int:
        if isinstance(cause, int):
            return cause
        if not isinstance(cause, Ticket) or (not cause.seq and cause.instance != self._instance):
            raise TypeError(f"cause {cause!r} is not a publication of this client")
        return cause.seq or -cause.n

    def _give_up(self, ticket: Ticket | None) -> None:
        if ticket is None:
            return
        if not self._lost:
            log.error("too many events wait for the broker: the oldest are being dropped")
        self._lost += 1
        self._failed(ticket, "dropped: too many events were waiting for the broker")

    def _failed(self, ticket: Ticket, reason: str) -> Ticket:
        ticket.settle(error=BusError(reason))
        return ticket

    def _pump_now(self) -> None:
        self._pumping = None
        self.pump()

    def pump(self) -> None:
        """Send what may be sent now."""
        while batch := self._outbox.batch():
            first, items = batch
            oldest = self._outbox.oldest
            message = Publish(self._instance, self._node, self._source, oldest.n if oldest else first, first)
            if not self._send(codec.pack_frame(message, items)):
                self._outbox.rewind(first)
                break
        if self._overdue is None and self._outbox:
            self._overdue = self._loop.call_later(self._patience, self._resend_overdue)

    def resend(self) -> None:
        """Send everything again that is not acknowledged: the broker may not have it."""
        self._outbox.rewind()
        self.pump()

    def missed(self, n: int) -> None:
        """Send again from number `n` on; once, since each batch that is still under way complains as well."""
        if n != self._missed:
            self._missed = n
            self._outbox.rewind(n)
            self.pump()

    def _resend_overdue(self) -> None:
        self._overdue = None
        self._missed = 0
        self._patience = min(2 * self._patience, PATIENCE_MAX)
        self.resend()

    def acknowledge(self, acked: Acked) -> None:
        oldest = self._outbox.oldest
        if oldest and oldest.n < acked.first:  # a former broker's acknowledgement got lost: ask for the seqs
            self.missed(oldest.n)
            return
        for ticket in self._outbox.acknowledge(acked.first + len(acked.seqs) - 1):
            seq = acked.seqs[ticket.n - acked.first]
            if seq:
                ticket.settle(seq)
            else:
                self._failed(ticket, "refused: the broker could not make sense of the event")
        self._patience = PATIENCE
        if self._overdue:
            self._overdue.cancel()
            self._overdue = None
        if self._lost:
            log.error("%d events were dropped while the broker was away", self._lost)
            self._lost = 0
        self.pump()

    async def flush(self) -> None:
        """Wait until everything that was published so far is acknowledged or refused."""
        while newest := self._outbox.newest:
            try:
                await newest
            except BusError:
                continue
            return

    def close(self) -> None:
        for handle in (self._pumping, self._overdue):
            if handle:
                handle.cancel()
        for ticket in self._outbox.acknowledge(self._published):
            self._failed(ticket, "the bus was closed before the broker had it")
