"""All tenants: what is heard goes to the one whom it concerns, and what is decided is done at once."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable

from msgspec import structs

from bus.events import Envelope
from services.reactor.act import Act
from services.reactor.actions import (
    AnyNews,
    Ended,
    Found,
    Heard,
    Input,
    Request,
    SharedEvent,
    TenantEvent,
)
from services.reactor.adopt import missed
from services.reactor.decide import settle
from services.reactor.doors import door
from services.reactor.failback import Failback
from services.reactor.learn import learn
from services.reactor.state import (
    Asked,
    Gone,
    Killing,
    Replacing,
    Running,
    Starting,
    Stopping,
    Tenant,
    Withdrawing,
)
from services.reactor.wants import Shared, count, recount, share

log = logging.getLogger(__name__)

WITH_PROCESS = Asked | Withdrawing | Starting | Running | Stopping | Killing | Replacing


class Tenants:
    """Until `begin` everything is believed and nothing done; after it, each thing heard is acted on."""

    def __init__(self, act: Act, shared: Shared) -> None:
        self.known: dict[str, Tenant] = {}
        self.shared = shared
        self.none_left = asyncio.Event()
        """Set when the product is being stopped and no tenant has a process any more."""
        self._act = act
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[tuple[str, Input | None, int]] = deque()
        self._busy = True
        self._with_process: set[str] = set()
        self._failback = Failback(shared.moves)
        self._look_back: asyncio.TimerHandle | None = None

    def recall(self, envelope: Envelope) -> None:
        """Believe what was said before we began."""
        event = envelope.event
        if isinstance(event, SharedEvent):
            self.shared = share(self.shared, envelope.seq, event)
        elif isinstance(event, TenantEvent):
            self._learn(event.tenant, Heard(seq=envelope.seq, event=event))
            self._act.because(event.tenant, envelope.seq)

    def recall_requests(self, head: int) -> None:
        """Believe what people asked for where a journal of `head` events tells nothing newer."""
        for heard in self._act.requests.recall(head):
            self._learn(heard.event.tenant, heard)

    def begin(self, found: Iterable[Found]) -> None:
        """Take over what runs already, and begin to act."""
        for running in found:
            self._learn(running.tenant, running)
        while self._inbox:  # what our processes did since they were asked for
            name, heard, _ = self._inbox.popleft()
            if heard:
                self._learn(name, heard)
        for tenant in list(self.known.values()):
            self._miss(tenant)
            self._act.requests.keep(tenant.name, tenant.order)
        self.shared = count(self.shared, self.known.values())
        self._busy = False
        self._failback.note(self.shared, self._loop.time())
        self._settle_all()
        self._act.complete()
        if self._failback.on:
            self._send_one_back()

    def follow(self, envelope: Envelope) -> None:
        """Act on an event from the bus."""
        event = envelope.event
        if isinstance(event, SharedEvent):
            shared = share(self.shared, envelope.seq, event)
            if shared is not self.shared:
                self.change(shared, envelope.seq)
        elif isinstance(event, TenantEvent):
            self._take(event.tenant, Heard(seq=envelope.seq, event=event), envelope.seq)

    def hear(self, news: AnyNews) -> None:
        """Act on news of our own processes."""
        self._take(news.tenant, news)

    def change(self, shared: Shared, cause: int = 0) -> None:
        """Act on something that concerns all tenants."""
        self.shared = shared
        self._failback.note(shared, self._loop.time())
        self._settle_all(cause)

    def close(self) -> None:
        """Send nobody back any more."""
        if self._look_back:
            self._look_back.cancel()

    def end(self) -> None:
        """Stop all tenants at once; `none_left` tells when that is done."""
        self.change(structs.replace(self.shared, ending=True))
        self._look_whether_none_is_left()

    def _send_one_back(self) -> None:
        """Let one tenant go back to a database that has returned, if one should, and look again later."""
        news = self._failback.take(self.shared, self.known.values(), self._loop.time())
        if news:
            self._take(news.tenant, news, self.shared.databases[news.target].seq)
        self._look_back = self._loop.call_at(self._failback.next_at, self._send_one_back)

    def _learn(self, name: str, heard: Input) -> None:
        tenant = self.known.get(name) or Tenant(name=name)
        self.known[name] = learn(tenant, heard, self._loop.time())

    def _miss(self, tenant: Tenant) -> None:
        """Notice that a process that ran when we last said something has gone meanwhile."""
        process = missed(tenant)
        if process:
            self._learn(tenant.name, Ended(tenant=tenant.name, process=process, code=None, signal=""))

    def _settle_all(self, cause: int = 0) -> None:
        self._act.releases = self.shared.releases
        for name in sorted(self.known, key=self._paid_first):
            self._take(name, None, cause)

    def _paid_first(self, name: str) -> bool:
        return self.known[name].wish.settings.plan != "paid"

    def _take(self, name: str, heard: Input | None, cause: int = 0) -> None:
        """Decide in the order of hearing, also about what is heard while something is being done."""
        self._inbox.append((name, heard, cause))
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                self._decide(*self._inbox.popleft())
        finally:
            self._busy = False

    def _decide(self, name: str, heard: Input | None, cause: int) -> None:
        at = self._loop.time()
        before = self.known.get(name) or Tenant(name=name)
        tenant = learn(before, heard, at) if heard else before
        tenant, actions = settle(tenant, self.shared, at)
        self.known[name] = tenant
        self.shared = recount(self.shared, before, tenant)
        if cause and (actions or (isinstance(heard, Heard) and isinstance(heard.event, Request))):
            self._act.because(name, cause)
        log.debug("tenant=%s state=%s heard=%s actions=%s", name, tenant.state.shown, heard, actions)
        self._act.perform(actions)
        if tenant.order is not before.order:
            self._act.requests.keep(name, tenant.order)
        if heard and not isinstance(heard, Heard):
            self._act.take_note(heard)
        self._show(name)
        self._count(tenant)

    def _show(self, name: str) -> None:
        shown = door(self.known.get(name) or Tenant(name=name))
        if shown:
            self._act.show(name, shown)

    def _count(self, tenant: Tenant) -> None:
        if isinstance(tenant.state, Gone) and not (tenant.wish.seq or tenant.wish.wrong):
            del self.known[tenant.name]  # anybody may ask for anything: names of nobody are not kept
            self._act.drop(tenant.name)
        if tenant.leaving or isinstance(tenant.state, WITH_PROCESS):
            self._with_process.add(tenant.name)
        else:
            self._with_process.discard(tenant.name)
            self._look_whether_none_is_left()

    def _look_whether_none_is_left(self) -> None:
        if self.shared.ending and not self._with_process:
            self.none_left.set()
