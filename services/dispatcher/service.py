"""Looks at all tenants several times a second, asks quiet ones now and then; says who is stuck or idle."""

import asyncio
import logging
import signal
from asyncio import TaskGroup
from collections.abc import Coroutine
from typing import Any

from bus.api import Bus, Subscription
from bus.events import (
    AnyEvent,
    BrakeOn,
    BrakeReleaseRequested,
    ProcEvent,
    ProcFailing,
    ProcSlow,
    ProcStuck,
    UserAdded,
    UserDeleted,
    UserModified,
)
from bus.log_reader import Log
from bus.queue_table import QueueTable
from bus.sections import CheckSettings
from bus.settings import Settings
from services.base import Service
from services.dispatcher.answers import Complaint
from services.dispatcher.brake import BrakeRules
from services.dispatcher.brakeman import Brakeman
from services.dispatcher.care import Care
from services.dispatcher.decide import Rules
from services.dispatcher.evidence import Evidence, Scene
from services.dispatcher.idle import Idleness
from services.dispatcher.roster import Roster
from services.dispatcher.rounds import HttpRounds
from services.dispatcher.sense import Pages
from services.dispatcher.tell import Teller, table
from services.dispatcher.vitals import VitalRules
from services.dispatcher.watch import Outlets, Watch

log = logging.getLogger(__name__)

SCAN_EVERY = 10.0
"""Seconds between two comparisons with the directory of score pages: a net below the events."""

LOOKS = 3
"""A case must have been watched for so many looks; a look that is late by more is a gap."""

PERIOD = 12
"""Times `stuck_after`: how long what happened to a tenant counts, for the brake and for what is slow."""

PATTERNS = ("PROC_*", "PACKAGE_RELEASED", "BRAKE_*", "USER_ADDED", "USER_MODIFIED", "USER_DELETED")


class Dispatcher(Service):
    """Learns that a tenant is stuck without waking it."""

    name = "dispatcher"

    def __init__(self, settings: Settings, bus: Bus) -> None:
        super().__init__(settings, bus)
        checks = settings.checks
        rules = Rules(
            stuck_after=checks.stuck_after,
            verify=min(LOOKS * checks.interval, checks.stuck_after / 2),
            lead=min((LOOKS + 1) * checks.interval, checks.stuck_after),
        )
        self._notable = min(checks.slow_after, rules.stuck_after - rules.lead)
        """Seconds that a loop must have been busy for anybody to look at it more closely."""
        self.roster = Roster(settings)
        self.pages = Pages(settings.run_dir / "score")
        self.brakeman = Brakeman(_brake_rules(checks), self.pages, checks.stuck_after, bus.publish)
        self._evidence = Evidence(settings.state_dir / "evidence")
        outlets = Outlets(say=bus.publish, collect=self._collect, start=self._start)
        self.watch = Watch(rules, self.pages, self.roster, self.brakeman, outlets)
        self.care = Care(_vital_rules(checks), self.pages, self.roster, bus.publish)
        self.rounds = HttpRounds(settings, self.pages, self.roster, self._answered)
        self._teller = Teller(settings.dispatcher_socket, self._table)
        self.idleness = Idleness(checks.interval)
        self._group: TaskGroup
        self._scan_at = 0.0
        self._took = 0.0
        """Seconds that the last look took."""
        self._planned = 0.0
        """When the next look is due."""
        self._events: Subscription

    async def start(self) -> None:
        snapshot = await self.bus.latest(*PATTERNS)
        self._events = await self.bus.subscribe(*PATTERNS, after=snapshot.head)
        now = asyncio.get_running_loop().time()
        for envelope in (await self.bus.latest("PROC_READY")).events:
            self._learn(envelope.event, now)  # the newest word may be about a process that it has replaced
        self._scan(now)
        for envelope in snapshot.events:
            self._learn(envelope.event, now)
            if isinstance(envelope.event, ProcStuck) and self.watch.remember(envelope.event, now):
                self.rounds.ask_soon(envelope.event.tenant, now)
            if isinstance(envelope.event, ProcSlow | ProcFailing):
                self.care.remember(envelope.event)
            if isinstance(envelope.event, BrakeOn):
                self.brakeman.resume(now)
        await self._teller.open()
        self._planned = now  # whoever is stopped after this has missed looks, even the first
        log.info("watching %d tenants, stuck after %g s", len(self.pages), self.settings.checks.stuck_after)

    async def run(self) -> None:
        async with TaskGroup() as self._group:
            group = self._group
            group.create_task(self._listen())
            group.create_task(self._look(group))

    async def stop(self, by: signal.Signals) -> None:
        del by  # either way: whoever looks next finds everything in the pages
        await self._events.aclose()
        self._teller.close()
        self.pages.close()

    async def _listen(self) -> None:
        async for envelope in self._events:
            now = asyncio.get_running_loop().time()
            self._learn(envelope.event, now)
            if isinstance(envelope.event, BrakeReleaseRequested):
                self.brakeman.release(envelope.event.by, now)

    def _learn(self, event: AnyEvent, now: float) -> None:
        self.roster.learn(event)
        if isinstance(event, UserAdded | UserModified | UserDeleted):
            self._allow(event)
            self._place(event.tenant, now)
        elif isinstance(event, ProcEvent):
            self.pages.refresh(event.tenant)
            self._place(event.tenant, now)

    async def _look(self, group: TaskGroup) -> None:
        """Look at the set interval, and exactly when a verdict is due; notice when we could not look."""
        clock = asyncio.get_running_loop().time
        interval = self.settings.checks.interval
        while True:
            now = clock()
            late = now - self._planned
            if late > LOOKS * interval:
                log.warning("no look for %.1f s: nobody is judged by that time", late)
                self.watch.after_gap(now, late)
                self.rounds.wait_anew(now)
            if now >= self._scan_at:
                self._scan(now)
            suspicious = self.pages.look(now - self._notable)
            self.watch.look(suspicious, now)
            for tenant in self.care.look(suspicious, now):
                self.rounds.hurry(tenant, now)
            self._took = clock() - now
            self.rounds.tick(now, group)
            for idle in self.idleness.look(now, self.pages.read, self.rounds.answers):
                self.bus.publish(idle)
            self._planned = min(now + interval, self.watch.next_verdict(now))
            await asyncio.sleep(self._planned - clock())

    def _answered(self, tenant: str, wrong: Complaint | None, asked: float, now: float) -> None:
        self.watch.answered(tenant, wrong, asked, now)
        self.care.answered(tenant, asked, now)

    def _scan(self, now: float) -> None:
        self._scan_at = now + SCAN_EVERY
        changed = self.pages.scan()
        changed.update(tenant for tenant in self.pages if tenant not in self.rounds.round)
        for tenant in changed:
            self._place(tenant, now)

    def _place(self, tenant: str, now: float) -> None:
        """Take a tenant into the round of checks if it serves, else out of it."""
        sight = self.pages.read(tenant)
        if sight and sight.serving:
            self.rounds.enter(tenant, sight.requests, now)
            self.idleness.enter(tenant, now)
        else:
            self.rounds.leave(tenant)
            self.idleness.leave(tenant)

    def _allow(self, event: UserAdded | UserModified | UserDeleted) -> None:
        """Learn how long a tenant may be idle."""
        idle = None
        if not isinstance(event, UserDeleted):
            defaults = self.settings.defaults_of(event.settings.plan)
            if defaults.start_of(event.settings) == "on-demand":
                idle = defaults.idle_stop_of(event.settings)
        self.idleness.allow(event.tenant, idle)

    def _table(self) -> QueueTable:
        return table(self.rounds, self.watch, len(self.pages), self._took)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._group.create_task(work)

    async def _collect(self, stuck: ProcStuck, scene: Scene) -> str:
        printed = Log(self.settings.tenants_dir / stuck.tenant / "log")
        return await self._evidence.collect(stuck, scene, printed)


def _vital_rules(checks: CheckSettings) -> VitalRules:
    return VitalRules(
        slow_after=checks.slow_after, error_share=checks.error_share, period=PERIOD * checks.stuck_after
    )


def _brake_rules(checks: CheckSettings) -> BrakeRules:
    return BrakeRules(
        share=checks.brake_share,
        minimum=checks.brake_minimum,
        pace=PERIOD * checks.stuck_after,
        calm=checks.stuck_after,
    )
