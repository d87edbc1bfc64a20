"""Looks after tenants that work: says who is slow, who answers with errors, who has grown too large.

Counters, memory and descriptors are looked at once a period, of a few tenants at each look at the pages, so
that no look takes long.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from math import ceil
from typing import Any, TypeAlias

from msgspec import structs

from bus.events import ProcFailing, ProcOversize, ProcRecovered, ProcSlow
from services.dispatcher import kernel, vitals
from services.dispatcher.decide import Sight, facts
from services.dispatcher.roster import Roster
from services.dispatcher.sense import Pages
from services.dispatcher.vitals import Counters, Lag, VitalRules, Vitals

log = logging.getLogger(__name__)

Said: TypeAlias = ProcSlow | ProcFailing | ProcOversize | ProcRecovered
Say: TypeAlias = Callable[[Said], object]

MOST = 20
"""Tenants whose counters are looked at in one go, at most; with too many a period takes longer."""


class Care:
    """Everybody who works."""

    def __init__(self, rules: VitalRules, pages: Pages, roster: Roster, say: Say) -> None:
        self._rules = rules
        self._pages = pages
        self._roster = roster
        self._say = say
        self._vitals: dict[str, Vitals] = {}
        self._turn: deque[str] = deque()
        """Whose counters come next."""
        self._looked = 0.0

    def look(self, suspicious: Iterable[str], now: float) -> list[str]:
        """Look at those whose pages say much, and at some counters; gives who may be unable to accept."""
        for tenant in suspicious:
            sight = self._pages.read(tenant)
            if sight and sight.serving and 0 < sight.busy_since <= now - self._rules.slow_after:
                lag = Lag(at=now, seconds=now - sight.busy_since, since=sight.busy_since)
                self._lag(tenant, sight, lag)
        return [tenant for tenant in self._next(now) if self._examine(tenant, now)]

    def answered(self, tenant: str, asked: float, now: float) -> None:
        """Learn how long an answer to an HTTP check took."""
        sight = self._pages.read(tenant)
        if sight and now - asked >= self._rules.slow_after:
            self._lag(tenant, sight, Lag(at=now, seconds=now - asked, since=asked))

    def remember(self, said: ProcSlow | ProcFailing) -> None:
        """Take up what an earlier dispatcher said, so that it is also said when it is over."""
        self._vitals[said.tenant] = Vitals(
            pid=said.pid,
            started=said.started,
            slow=isinstance(said, ProcSlow),
            failing=isinstance(said, ProcFailing),
        )

    def _of(self, tenant: str, sight: Sight) -> Vitals:
        known = self._vitals.get(tenant)
        if known and (known.pid, known.started) == (sight.pid, sight.started):
            return known
        return Vitals(pid=sight.pid, started=sight.started)

    def _lag(self, tenant: str, sight: Sight, lag: Lag) -> None:
        known = vitals.lagged(self._of(tenant, sight), lag, self._rules)
        if not known.slow and vitals.is_slow(known, lag.at, self._rules):
            known = structs.replace(known, slow=True)
            longest = max(each.seconds for each in known.lags)
            reason = f"slow {len(known.lags)} times in {self._rules.period:g} s, for {longest:.1f} s at worst"
            self._tell(ProcSlow(**self._facts(tenant, known), reason=reason, longest=round(longest, 3)))
        self._vitals[tenant] = known

    def _next(self, now: float) -> list[str]:
        """Choose whose turn it is: so many that everybody has one in a period."""
        passed, self._looked = min(now - self._looked, self._rules.period), now
        if not self._turn:
            self._turn.extend(self._pages)
            for gone in self._vitals.keys() - set(self._turn):
                del self._vitals[gone]
        count = min(ceil(len(self._pages) * passed / self._rules.period), MOST)
        return [self._turn.popleft() for _ in islice(range(len(self._turn)), count)]

    def _examine(self, tenant: str, now: float) -> bool:
        """Look at the counters of one tenant; tells whether it has no descriptors left."""
        sight = self._pages.read(tenant)
        if sight is None or not sight.serving:
            return False
        known = self._weigh(tenant, self._count(tenant, self._of(tenant, sight), sight, now), sight, now)
        self._vitals[tenant] = known
        files = kernel.files(sight.pid)
        return files is not None and files.full

    def _count(self, tenant: str, known: Vitals, sight: Sight, now: float) -> Vitals:
        counters = Counters(requests=sight.requests, errors=sight.errors)
        after = structs.replace(
            known,
            slow=known.slow and vitals.is_slow(known, now, self._rules),
            failing=vitals.is_failing(known, counters, self._rules),
            counters=counters,
        )
        if after.failing and not known.failing:
            answers = vitals.since(known, counters)
            reason = f"{answers.errors} of the last {answers.requests} answers were 500 or above"
            event = ProcFailing(**self._facts(tenant, known), reason=reason)
            self._tell(structs.replace(event, errors=answers.errors, requests=answers.requests))
        if known.ailment and not after.ailment:
            reason = f"works well again after: {known.ailment}"
            self._tell(ProcRecovered(**self._facts(tenant, known), reason=reason))
        return after

    def _weigh(self, tenant: str, known: Vitals, sight: Sight, now: float) -> Vitals:
        limit = self._roster.soft_limit(tenant)
        if not limit or now - sight.ready_at < self._rules.period:
            return known
        memory = kernel.memory(sight.pid)
        known = vitals.weighed(known, memory, limit)
        if not vitals.is_oversize(known, now, self._rules):
            return known
        reason = f"{memory >> 20} MiB in use, {limit >> 20} MiB are the soft limit"
        self._tell(ProcOversize(**self._facts(tenant, known), reason=reason, memory=memory, limit=limit))
        return structs.replace(known, oversize_at=now)

    def _facts(self, tenant: str, known: Vitals) -> dict[str, Any]:
        return facts(self._roster.of(tenant), known.pid, known.started)

    def _tell(self, event: Said) -> None:
        log.info("%s: %s: %s", event.tenant, event.type, event.reason)
        self._say(event)
