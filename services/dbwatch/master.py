"""Has one database checked again and again, by a watchdog that can be left behind."""

import asyncio
import time

from msgspec import structs

from bus.settings import Settings
from services.dbwatch.board import Board
from services.dbwatch.decide import (
    Asked,
    Case,
    HandOut,
    Hurried,
    Input,
    Outcome,
    Reached,
    Renew,
    Replace,
    Reported,
    Rules,
    Say,
    TimeCame,
    decide,
)
from services.dbwatch.reading import Reading
from services.dbwatch.sense import Ear, Kennel, Watchdog, open_canary, open_probe
from services.dbwatch.verdict import Finding, Limits


class Master:
    """Hands tasks to the watchdog of one database and holds their deadlines; never waits for a thread."""

    def __init__(self, settings: Settings, board: Board, case: Case) -> None:
        self.case = case
        self._board = board
        self._rules = _rules(settings, case.database)
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[Input] = asyncio.Queue()
        canary = open_canary(settings, case.database)
        ear = Ear(self._reached, self._report)
        self._kennel = Kennel(
            case.database, lambda: Watchdog(case.database, open_probe(settings, case.database, canary), ear)
        )

    def ask(self, seq: int) -> None:
        """Have the database judged anew, as the answer to a request."""
        self._inbox.put_nowait(Asked(self._loop.time(), seq))

    def hurry(self) -> None:
        """Have the database checked now, if that is not under way."""
        self._inbox.put_nowait(Hurried(self._loop.time()))

    async def step(self) -> None:
        """Wait for a report or until one is due, and act on it."""
        came = await self._next()
        if isinstance(came, Reported) and isinstance(came.outcome, Reading):
            self._board.read(self.case.database, came.outcome)
        self.case, actions = decide(self.case, came, self._rules, self._board.away)
        for action in actions:
            match action:
                case HandOut(task):
                    self._kennel.hand_out(task)
                case Replace():
                    self._kennel.replace()
                case Renew():
                    self._kennel.renew()
                case Say(event, cause):
                    self._say(event, cause)
        self._board.settle()

    def close(self) -> None:
        self._kennel.replace()

    def _say(self, event: Finding, cause: int) -> None:
        if not event.since:
            event = structs.replace(event, since=time.time())
            self.case = structs.replace(self.case, said=event)
        self._board.say(event, cause)

    async def _next(self) -> Input:
        try:
            async with asyncio.timeout_at(self.case.due):
                return await self._inbox.get()
        except TimeoutError:
            return TimeCame(self._loop.time())

    def _reached(self, task: int, reading: Reading) -> None:
        self._loop.call_soon_threadsafe(self._inbox.put_nowait, Reached(task, reading))

    def _report(self, task: int, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(
            lambda: self._inbox.put_nowait(Reported(self._loop.time(), task, outcome))
        )


def _rules(settings: Settings, database: str) -> Rules:
    checks = settings.checks
    return Rules(
        every=checks.database_every,
        timeout=checks.database_timeout,
        limits=Limits(
            lag=checks.database_lag,
            headroom=checks.database_headroom,
            slow=checks.database_slow,
            donor=settings.databases[database].donor,
        ),
    )
