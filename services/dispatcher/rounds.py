"""Asks quiet tenants for their health, each once in a while, over HTTP.

Answered traffic is proof of health and postpones the question. What an answer means for the tenant's case is
the service's matter: it gets each outcome by `report`.
"""

import asyncio
import logging
import os
import random
from asyncio import TaskGroup
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

from msgspec import structs

from bus.settings import Settings
from services.dispatcher.answers import IDENTITY, Complaint, failing, identity_in, mistake
from services.dispatcher.http_check import Answer, CheckFailedError, get
from services.dispatcher.kinds import Kind
from services.dispatcher.queues import Round
from services.dispatcher.roster import Roster
from services.dispatcher.sense import Pages

log = logging.getLogger(__name__)

ASK_AGAIN = 1.0
"""Seconds until a tenant that failed a check is asked again."""


Report: TypeAlias = Callable[[str, Complaint | None, float, float], None]
"""(tenant, what is wrong with its answer, when it was asked, now)."""


class HttpRounds:
    """Which tenant is asked when; one tenant's silence never delays another's question."""

    def __init__(self, settings: Settings, pages: Pages, roster: Roster, report: Report) -> None:
        self.round = Round(settings.checks.interval)
        self._settings = settings
        self._pages = pages
        self._roster = roster
        self._report = report
        self.answers: Counter[str] = Counter()
        """Questions of ours that each tenant has answered."""
        self._asked: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._not_found: set[str] = set()
        """Health paths that were logged as missing, so that each is logged once."""
        self._requests: dict[str, int] = {}
        """Requests that each tenant had answered when we last cared, our own question included."""

    def enter(self, tenant: str, requests: int, now: float) -> None:
        """Take a tenant into the round, at a random place, so that tenants are not asked all at once."""
        if tenant not in self.round:
            self._requests[tenant] = requests
            self.round.due.put(tenant, now + random.random() * self._settings.checks.http_every)  # noqa: S311 - jitter is no secret

    def ask_soon(self, tenant: str, now: float) -> None:
        self.round.move(tenant, self.round.suspect, now + ASK_AGAIN)

    def hurry(self, tenant: str, now: float) -> None:
        """Ask a tenant soon, also one that has answered requests, unless he is being asked already."""
        if tenant in self.round.due:
            self.ask_soon(tenant, now)

    def leave(self, tenant: str) -> None:
        self.round.leave(tenant)
        self._requests.pop(tenant, None)
        self.answers.pop(tenant, None)
        _, task = self._asked.pop(tenant, (0.0, None))
        if task:
            task.cancel()

    def tick(self, now: float, group: TaskGroup) -> None:
        """Ask whoever is due, in tasks of `group`, and stop waiting for those whose time is over."""
        for tenant in self.round.in_flight.pop_due(now):
            asked, task = self._asked.pop(tenant)
            task.cancel()
            timeout = self._settings.checks.http_timeout
            path = self._roster.door(tenant).paths[0]
            self._settle(tenant, _deaf(path, f"no answer within {timeout:g} s"), asked, now)
        for tenant in self.round.suspect.pop_due(now):
            self._ask(tenant, now, group)
        for tenant in self.round.due.pop_due(now):
            self._ask(tenant, now, group, unless_busy=True)

    def wait_anew(self, now: float) -> None:
        """Give those who were asked their full time again: we were away and read no answers."""
        for tenant in self._asked:
            self.round.in_flight.put(tenant, now + self._settings.checks.http_timeout)

    def _ask(self, tenant: str, now: float, group: TaskGroup, *, unless_busy: bool = False) -> None:
        sight = self._pages.read(tenant)
        if sight is None or not sight.serving:
            return  # it comes back into the round when it serves
        if unless_busy and sight.requests > self._requests.get(tenant, sight.requests):
            self._requests[tenant] = sight.requests
            self.round.due.put(tenant, now + self._settings.checks.http_every)
            return
        self._requests[tenant] = sight.requests + len(self._roster.door(tenant).paths)
        self.round.in_flight.put(tenant, now + self._settings.checks.http_timeout)
        self._asked[tenant] = (now, group.create_task(self._check(tenant, now)))

    async def _check(self, tenant: str, asked: float) -> None:
        door = self._roster.door(tenant)
        wrong = None
        for path in door.paths:
            try:
                answer = await get(door.place, tenant, path)
            except CheckFailedError as error:
                wrong = _deaf(path, str(error))
            else:
                self.answers[tenant] += 1
                wrong = self._look_at(tenant, path, answer)
            if wrong:
                break
        del self._asked[tenant]
        self._settle(tenant, wrong, asked, asyncio.get_running_loop().time())

    def _look_at(self, tenant: str, path: str, answer: Answer) -> Complaint | None:
        """Tell what is wrong with an answer, if anything is."""
        wrong = failing(answer.status)
        said = identity_in(answer.body)
        sight = self._pages.read(tenant)
        if not wrong and said and sight:
            words = mistake(said, tenant, self._roster.runs(tenant, sight.pid), _leader(said.pid))
            wrong = Complaint(kind=Kind.STRANGER, words=words) if words else None
        elif not wrong and path == IDENTITY and answer.status == HTTPStatus.OK:
            wrong = Complaint(kind=Kind.STRANGER, words="the answer does not say who gives it")
        if answer.status == HTTPStatus.NOT_FOUND and path not in self._not_found:
            self._not_found.add(path)
            log.warning("%s answers 404 to its health path %s: counts as alive", tenant, path)
        return wrong and structs.replace(wrong, words=f"GET {path}: {wrong.words}")

    def _settle(self, tenant: str, wrong: Complaint | None, asked: float, now: float) -> None:
        if wrong:
            self.ask_soon(tenant, now)
        else:
            self.round.move(tenant, self.round.due, now + self._settings.checks.http_every)
        self._report(tenant, wrong, asked, now)


def _deaf(path: str, reason: str) -> Complaint:
    return Complaint(kind=Kind.DEAF, words=f"GET {path}: {reason}")


def _leader(pid: int) -> int:
    """Tell the session that a process belongs to; 0 when there is no such process."""
    try:
        return os.getsid(pid)
    except (ProcessLookupError, OverflowError):
        return 0
