"""Keeps the cases against tenants, from pages and from HTTP checks, and says each verdict once."""

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from bus.events import ProcEvent, ProcRecovered, ProcStarted, ProcStuck
from services.dispatcher import decide
from services.dispatcher.decide import Case, Kind, Rules
from services.dispatcher.sense import Pages, evidence

log = logging.getLogger(__name__)

Say: TypeAlias = Callable[[ProcStuck | ProcRecovered], object]


class Watch:
    """Every tenant under suspicion; the others cost nothing here."""

    def __init__(self, rules: Rules, pages: Pages, known: Mapping[str, ProcEvent], say: Say) -> None:
        self.cases: dict[str, Case] = {}
        self._rules = rules
        self._pages = pages
        self._known = known
        self._say = say
        self._no_verdict_before = 0.0

    def look(self, now: float) -> None:
        """Look at all pages once."""
        suspicious = self._pages.look(now - self._rules.stuck_after + self._rules.lead)
        for tenant in {*suspicious, *self.cases}:
            self._judge(tenant, now)

    def next_verdict(self, now: float) -> float:
        """Tell when the next open case would convict; infinity when there is none."""
        verdicts = [self._verdict_at(case) for case in self.cases.values() if case.by_page]
        return min((at for at in verdicts if at > now), default=float("inf"))

    def after_gap(self, now: float, lost: float) -> None:
        """Watch anew after `lost` seconds without a look; perhaps nobody else could work either."""
        self._no_verdict_before = now + min(lost, self._rules.stuck_after)
        self.cases = {tenant: decide.watch_anew(case, now) for tenant, case in self.cases.items()}

    def remember(self, said: ProcStuck, now: float) -> bool:
        """Take up a verdict that an earlier dispatcher said; False when that process is gone."""
        sight = self._pages.read(said.tenant)
        if sight is None or not sight.serving or (sight.pid, sight.started) != (said.pid, said.started):
            return False
        self.cases[said.tenant] = decide.convict(decide.deaf(sight, now - said.stuck_for, now))
        return True

    def answered(self, tenant: str, wrong: str, asked: float, now: float) -> None:
        """Learn the outcome of an HTTP check: "" as `wrong` is an answer that proves health."""
        sight = self._pages.read(tenant)
        case = self.cases.get(tenant)
        if sight is None or not sight.serving or (case and case.kind is not Kind.DEAF):
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
            log.info("%s: %s; asking again", tenant, wrong)
            self.cases[tenant] = decide.deaf(sight, asked, now)
        elif not case.convicted:
            self._convict(tenant, case, now, f"{wrong}, twice")

    def _judge(self, tenant: str, now: float) -> None:
        before, sight = self.cases.get(tenant), self._pages.read(tenant)
        case = decide.follow(before, sight, now, self._rules) if sight else None
        if case:
            self.cases[tenant] = case
        else:
            self._drop(tenant)
        if before and sight and decide.clears(before, sight, case):
            self._acquit(tenant, before)
        if case and case.by_page and now >= self._verdict_at(case):
            self._convict(tenant, case, now)

    def _verdict_at(self, case: Case) -> float:
        return max(decide.verdict_at(case, self._rules), self._no_verdict_before)

    def _convict(self, tenant: str, case: Case, now: float, detail: str = "") -> None:
        """Verify once more, by the kernel and by the page, then say it: the one door to a verdict."""
        found = evidence(case.pid)
        again = self._pages.read(tenant)
        if not found or not again or not decide.proves(found, case):
            return
        if decide.follow(case, again, now, self._rules) != case:
            return
        self.cases[tenant] = decide.convict(case)
        event = decide.stuck(case, self._of(tenant), found, now, detail)
        log.warning("%s is stuck: %s (pid %d)", tenant, event.reason, case.pid)
        self._say(event)

    def _acquit(self, tenant: str, case: Case) -> None:
        event = decide.recovered(case, self._of(tenant))
        log.info("%s %s", tenant, event.reason)
        self._say(event)

    def _drop(self, tenant: str) -> None:
        self.cases.pop(tenant, None)

    def _of(self, tenant: str) -> ProcEvent:
        return self._known.get(tenant) or ProcStarted(tenant=tenant)
