"""Keeps the cases against tenants, from pages and from HTTP checks, and says each verdict once."""

import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeAlias

from msgspec import structs

from bus.events import ProcRecovered, ProcStuck
from services.dispatcher import decide, kernel
from services.dispatcher.answers import Complaint
from services.dispatcher.brake import Brake
from services.dispatcher.brakeman import Brakeman
from services.dispatcher.decide import Case, Rules
from services.dispatcher.evidence import Scene
from services.dispatcher.kinds import Claim, Kind, Sample, diagnose
from services.dispatcher.roster import Roster
from services.dispatcher.sense import Pages

log = logging.getLogger(__name__)

Say: TypeAlias = Callable[[ProcStuck | ProcRecovered], object]
Collect: TypeAlias = Callable[[ProcStuck, Scene], Coroutine[Any, Any, str]]
"""Writes the evidence down; gives where."""


class Outlets(NamedTuple):
    """Where verdicts go."""

    say: Say
    collect: Collect
    start: Callable[[Coroutine[Any, Any, None]], object]
    """Starts a task."""


class Watch:
    """Every tenant under suspicion; the others cost nothing here."""

    def __init__(
        self, rules: Rules, pages: Pages, roster: Roster, brakeman: Brakeman, outlets: Outlets
    ) -> None:
        self.cases: dict[str, Case] = {}
        self._rules = rules
        self._pages = pages
        self._roster = roster
        self._brakeman = brakeman
        self._outlets = outlets
        self._seen: dict[str, Sample] = {}
        """What the kernel said when each case was opened."""
        self._collecting: set[str] = set()
        """Who is convicted, and not called stuck yet: evidence comes first."""
        self._no_verdict_before = 0.0

    def look(self, suspicious: Iterable[str], now: float) -> None:
        """Look once at those whose pages say much."""
        for tenant in {*suspicious, *self.cases}:
            self._judge(tenant, now)
        self._brakeman.look(self.cases, now)
        due = [tenant for tenant, case in self.cases.items() if case.by_page and now >= self.verdict_at(case)]
        for tenant in sorted(due, key=lambda tenant: self.cases[tenant].since):
            self._convict(tenant, self.cases[tenant], now)

    def next_verdict(self, now: float) -> float:
        """Tell when the next open case would convict; infinity when there is none."""
        verdicts = [self.verdict_at(case) for case in self.cases.values() if case.by_page]
        return min((at for at in verdicts if at > now), default=float("inf"))

    def verdict_at(self, case: Case) -> float:
        """Tell when a case convicts, if it stays as it is and the brake is off."""
        return max(decide.verdict_at(case, self._rules), self._no_verdict_before)

    @property
    def brake(self) -> Brake:
        """Tell where the brake stands."""
        return self._brakeman.brake

    def after_gap(self, now: float, lost: float) -> None:
        """Watch anew after `lost` seconds without a look; perhaps nobody else could work either."""
        self._no_verdict_before = now + min(lost, self._rules.stuck_after)
        for tenant, case in list(self.cases.items()):
            self._open(tenant, decide.watch_anew(case, now))

    def remember(self, said: ProcStuck, now: float) -> bool:
        """Take up a verdict that an earlier dispatcher said; False when that process is gone."""
        sight = self._pages.read(said.tenant)
        if sight is None or not sight.serving or (sight.pid, sight.started) != (said.pid, said.started):
            return False
        self.cases[said.tenant] = decide.convict(decide.deaf(sight, now - said.stuck_for, now))
        return True

    def answered(self, tenant: str, wrong: Complaint | None, asked: float, now: float) -> None:
        """Learn the outcome of an HTTP check: None as `wrong` is an answer that proves health."""
        self._brakeman.checked(tenant, failed=wrong is not None, now=now)
        sight = self._pages.read(tenant)
        case = self.cases.get(tenant)
        if sight is None or not sight.serving or (case and case.claim is not Claim.DEAF):
            return  # the page tells more
        if wrong and decide.explains(sight, now, self._rules):
            return
        if case and not case.is_about(sight):
            case = None
        if not wrong:
            self._drop(tenant)
            if case and case.convicted:
                self._acquit(tenant, case)
        elif case is None:
            log.info("%s: %s; asking again", tenant, wrong.words)
            self._open(tenant, decide.deaf(sight, asked, now))
        elif not case.convicted:
            self._convict(tenant, case, now, wrong)

    def _judge(self, tenant: str, now: float) -> None:
        before, sight = self.cases.get(tenant), self._pages.read(tenant)
        case = decide.follow(before, sight, now, self._rules) if sight else None
        if case is None:
            self._drop(tenant)
        elif case is not before:
            self._open(tenant, case)
        if before and sight and decide.clears(before, sight, case):
            self._acquit(tenant, before)

    def _open(self, tenant: str, case: Case) -> None:
        """Begin to watch, with a first look at what the kernel says."""
        self.cases[tenant] = case
        seen = kernel.sample(case.pid)
        if seen:
            self._seen[tenant] = seen

    def _convict(self, tenant: str, case: Case, now: float, wrong: Complaint | None = None) -> None:
        """Verify once more, by the kernel and by the page, then say it: the one door to a verdict."""
        if not self._brakeman.allows(self.cases, now):
            return
        before, found = self._seen.get(tenant), kernel.sample(case.pid)
        again = self._pages.read(tenant)
        if not before or not found or not again or not decide.proves(before, found, case):
            return
        if decide.unheard(before, found, case):
            self._open(tenant, decide.watch_anew(case, now))
            return
        if decide.follow(case, again, now, self._rules) != case:
            return
        files = kernel.files(case.pid) if case.claim is Claim.DEAF else None
        kind = diagnose(case.claim, before, found, files)
        detail = f"{wrong.words}, twice" if wrong else ""
        if wrong and wrong.kind is not Kind.DEAF:
            kind = wrong.kind
        elif files and kind is Kind.FULL:
            detail += f", {files.count} of {files.limit} file descriptors in use"
        self.cases[tenant] = decide.convict(case)
        reason = decide.reason(case, found, now, detail)
        event = decide.stuck(case, self._roster.of(tenant), now, kind, reason)
        self._brakeman.passed(tenant, now)
        self._collecting.add(tenant)
        self._outlets.start(self._accuse(event, Scene(before, found)))

    async def _accuse(self, event: ProcStuck, scene: Scene) -> None:
        """Secure the evidence, and call the tenant stuck, if it has not begun to work meanwhile."""
        tenant = event.tenant
        evidence = await self._outlets.collect(event, scene)
        self._collecting.discard(tenant)
        case = self.cases.get(tenant)
        if not case or not case.convicted or (case.pid, case.started) != (event.pid, event.started):
            log.info("%s works again; evidence in %s", tenant, evidence)
            return
        log.warning("%s is stuck: %s: %s (pid %d)", tenant, event.kind, event.reason, case.pid)
        self._outlets.say(structs.replace(event, evidence=evidence))

    def _acquit(self, tenant: str, case: Case) -> None:
        if tenant in self._collecting:  # it was never called stuck
            return
        event = decide.recovered(case, self._roster.of(tenant))
        log.info("%s %s", tenant, event.reason)
        self._outlets.say(event)

    def _drop(self, tenant: str) -> None:
        self.cases.pop(tenant, None)
        self._seen.pop(tenant, None)
