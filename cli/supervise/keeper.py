"""Keeps one service: starts it, watches it, starts it again; and stops it when asked."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Protocol

from bus.daemon import EXIT_NEVER
from cli.supervise.policy import again
from cli.view import ServiceRow

STOP_WITHIN = 15.0
"""Seconds that a service has to end after SIGTERM."""

BY_HAND = "stopped by hand"
"""The reason of a service that ended as it was asked to."""

SETTLED = ("RUNNING", "FATAL", "BACKOFF", "STOPPED")
"""States in which a start has come to an end."""


class Life(Protocol):
    """What a keeper needs of a process: child.Child."""

    ready: asyncio.Future[None]
    ended: asyncio.Future[int]
    status: str
    verdict: str

    @property
    def pid(self) -> int: ...

    def signal(self, number: signal.Signals) -> None: ...


class News(Protocol):
    """Who is told of what happens."""

    def changed(self, row: ServiceRow) -> None: ...

    def crashed(self, service: str, pid: int, reason: str) -> None: ...


class Keeper:
    """One service; `keep` runs for ever, the others ask it for something."""

    def __init__(self, name: str, spawn: Callable[[], Life], news: News) -> None:
        self.row = ServiceRow(name, "STOPPED", None, time.time(), 0, "")
        self._spawn = spawn
        self._news = news
        self._life: Life | None = None
        self._by = signal.SIGTERM
        """What it was asked to end by."""
        self._wanted = asyncio.Event()
        self._hurry = asyncio.Event()
        self._change = asyncio.Event()

    async def start(self) -> ServiceRow:
        """Have it run; gives what came of it: RUNNING, or why not."""
        if self.row.state != "RUNNING":
            self._wanted.set()
            self._hurry.set()
            if not self._life:
                self._set("STARTING")
            await self._until(*SETTLED)
        return self.row

    async def stop(
        self, by: signal.Signals = signal.SIGTERM, within: float | None = STOP_WITHIN
    ) -> ServiceRow:
        """Have it end: by a signal, and by SIGKILL after `within` seconds unless that is None."""
        self._wanted.clear()
        self._hurry.set()
        if not self._life:
            self._set("STOPPED", reason=BY_HAND)
            return self.row
        self._set("STOPPING", pid=self._life.pid)
        self._by = by
        self._life.signal(by)
        try:
            async with asyncio.timeout(within):
                await self._until("STOPPED")
        except TimeoutError:
            self.kill()
            await self._until("STOPPED")
        return self.row

    def kill(self) -> None:
        """End it at once."""
        self._wanted.clear()
        self._hurry.set()
        if self._life:
            self._life.signal(signal.SIGKILL)

    async def keep(self) -> None:
        failures = 0
        while True:
            await self._wanted.wait()
            self._hurry.clear()
            began = time.monotonic()
            reason, never = await self._live()
            if not self._wanted.is_set():
                failures = 0
                self._set("STOPPED", reason=reason or BY_HAND)
            elif never:
                failures = 0
                self._wanted.clear()
                self._set("FATAL", reason=reason)
            else:
                failures, pause = again(failures, time.monotonic() - began)
                self._count_restart()
                await self._rest(reason, pause)

    async def _live(self) -> tuple[str, bool]:
        """Start it and wait for its end; gives the reason, and whether starting again is of no use."""
        try:
            life = self._life = self._spawn()
        except OSError as error:
            return f"cannot be started: {error}", False
        self._set("STARTING", pid=life.pid)
        life.ready.add_done_callback(self._become_ready)
        code = await life.ended
        self._life = None
        if code == -self._by and not self._wanted.is_set():  # by nothing but what it was asked by
            code = 0
        reason = _reason(life, code)
        if code:
            self._news.crashed(self.row.service, life.pid, reason)
        return reason if code or self._wanted.is_set() else "", code == EXIT_NEVER

    def _become_ready(self, ready: asyncio.Future[None]) -> None:
        if not ready.cancelled() and self._life and self._wanted.is_set():
            self._set("RUNNING", pid=self._life.pid)

    async def _rest(self, reason: str, pause: float) -> None:
        if pause:
            self._set("BACKOFF", reason=f"{reason}; next try in {pause:g} s")
        else:
            self._set("EXITED", reason=reason)
        try:
            async with asyncio.timeout(pause):
                await self._hurry.wait()
        except TimeoutError:
            return

    def _count_restart(self) -> None:
        self.row = self.row._replace(restarts=(self.row.restarts or 0) + 1)

    def _set(self, state: str, *, pid: int | None = None, reason: str = "") -> None:
        """The one door through which the state changes."""
        self.row = self.row._replace(state=state, pid=pid, since=time.time(), reason=reason)
        self._news.changed(self.row)
        self._change.set()
        self._change = asyncio.Event()

    async def _until(self, *states: str) -> None:
        while self.row.state not in states:
            await self._change.wait()


def _reason(life: Life, code: int) -> str:
    if life.verdict:
        return life.verdict
    how = f"ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    return f"{life.status} ({how})" if life.status and code == EXIT_NEVER else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"SIG{number}"
