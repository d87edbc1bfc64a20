"""`bus up` as a process: signals, the control socket, the bus, and what is shown on the screen."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from bus import lock, sdnotify
from bus.api import Bus
from bus.client import connect
from bus.errors import AlreadyRunningError
from bus.events import Envelope, ServiceDown
from bus.settings import Settings
from cli.render import STATE_COLOUR, coloured, paint, plain
from cli.supervise import control
from cli.supervise.child import Child, Order
from cli.supervise.supervisor import Supervisor
from cli.tail import show_line
from cli.view import ServiceRow

MODULES = {"broker": "bus"}

LOCK = "up.lock"
"""In the run directory: held by the one `bus up` that may run there."""

PASSING = {"STARTING", "STOPPING", "STOPPED"}
"""States of a service that are not worth a line on the screen."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether the settings have changed."""

LOG_LIMIT = 10 * 1024 * 1024
"""Bytes of a service's log above which the next start of the service puts it aside."""


class End(Enum):
    DONE = "everything was stopped"
    CANNOT = "the broker cannot start"
    TENANTS_LEFT = "services were stopped, tenants may run on"


class Plan(NamedTuple):
    settings: Settings
    quiet: bool
    hung_after: float
    """Seconds."""


class Screen:
    """Says what happens to services, to people on stderr and to others on the bus."""

    def __init__(self, logs: Path | None) -> None:
        self.bus: Bus | None = None
        self._logs = logs
        self._colours = coloured(sys.stderr)

    def changed(self, row: ServiceRow) -> None:
        if row.state in PASSING:
            return
        pid = f"pid {row.pid}" if row.pid else ""
        state = paint(row.state, STATE_COLOUR.get(row.state), on=self._colours)
        self.say("  ".join(filter(None, (f"{row.service:<10}", state, pid, plain(row.reason)))))

    def crashed(self, service: str, pid: int, reason: str) -> None:
        if self._logs:
            self.say(f"{service:<10}  {plain(reason)}; what it said last is in {self._logs / service}.log")
        if self.bus:
            self.bus.publish(ServiceDown(service=service, pid=pid, reason=reason))

    def say(self, text: str) -> None:
        clock = paint(time.strftime("%H:%M:%S"), "dim", on=self._colours)
        with suppress(OSError):  # nobody reads it: no reason to stop
            print(f"{clock}  {text}", file=sys.stderr, flush=True)


def run(plan: Plan) -> End:
    """Run everything until a signal says stop."""
    return asyncio.run(_run(plan, Screen(_logs(plan.settings))))


async def _run(plan: Plan, screen: Screen) -> End:
    supervisor = Supervisor(_spawner(plan), screen)
    signals = _signals()
    at = control.path(plan.settings)
    servers = [await control.listen(at, supervisor.answer)]
    tasks = [
        asyncio.create_task(sdnotify.keep_alive()),
        asyncio.create_task(_narrate(plan, screen)),
        asyncio.create_task(_try_again(Path(plan.settings.file), supervisor)),
        asyncio.create_task(_stay(plan.settings, supervisor, servers, screen)),
    ]
    try:
        return await _live(supervisor, signals, screen)
    finally:
        for server in servers:
            server.close()
        at.unlink(missing_ok=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await supervisor.close()


async def _live(supervisor: Supervisor, signals: "asyncio.Queue[signal.Signals]", screen: Screen) -> End:
    first = asyncio.create_task(signals.get())
    starting = asyncio.create_task(_start(supervisor, screen))
    await asyncio.wait((first, starting), return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not starting.result():
        first.cancel()
        await supervisor.kill()
        return End.CANNOT
    by = await first
    starting.cancel()
    screen.say(f"{by.name}: stopping the tenants, then the services; once more to leave tenants running")
    stopping = asyncio.create_task(supervisor.stop())
    second = asyncio.create_task(_impatience(signals))
    await asyncio.wait((second, stopping), return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        second.cancel()
        clean = stopping.result()
    else:
        stopping.cancel()
        await supervisor.kill()
        clean = False
    if not clean:
        screen.say("tenants may run on; the next `bus up` takes them back")
    return End.DONE if clean else End.TENANTS_LEFT


async def _try_again(settings: Path, supervisor: Supervisor) -> None:
    """Let services that found the settings wrong have another look whenever somebody has changed them."""
    before = _stamp(settings)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = _stamp(settings)
        if now != before:
            before = now
            await supervisor.try_again()


async def _stay(
    settings: Settings, supervisor: Supervisor, servers: list[asyncio.Server], screen: Screen
) -> None:
    """Make the run directory anew whenever somebody has removed it: without it nobody finds anybody."""
    at, ours = control.path(settings), settings.run_dir / LOCK
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if supervisor.ending or (at.exists() and ours.exists()):
            continue
        screen.say(f"somebody has removed {at if ours.exists() else settings.run_dir}: it is made anew")
        try:
            settings.prepare()
            if not ours.exists():
                lock.hold(ours, "bus up")
            servers.append(await control.listen(at, supervisor.answer))
            await supervisor.begin_again()
        except (OSError, AlreadyRunningError) as error:
            screen.say(f"{error}; trying again")


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


async def _start(supervisor: Supervisor, screen: Screen) -> bool:
    row = await supervisor.start()
    if row.state == "FATAL":
        return False
    down = [row.service for row in supervisor.rows() if row.state != "RUNNING"]
    screen.say(f"not running: {' '.join(down)}" if down else "all services run; Ctrl-C stops everything")
    return True


async def _impatience(signals: "asyncio.Queue[signal.Signals]") -> None:
    """Wait for somebody who does not want to wait: a terminal that is closed says so more than once."""
    while await signals.get() is signal.SIGHUP:
        pass


def _signals() -> "asyncio.Queue[signal.Signals]":
    """Collect the signals that mean stop; what was ignored when we were started (nohup) stays so."""
    asked: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        asyncio.get_running_loop().add_signal_handler(number, asked.put_nowait, number)
    return asked


def _spawner(plan: Plan) -> Callable[[str], Callable[[], Child]]:
    settings, logs = plan.settings, _logs(plan.settings)

    def of(name: str) -> Callable[[], Child]:
        order = Order(
            module=MODULES.get(name, f"services.{name}"),
            config=settings.file,
            notices=settings.run_dir / f"{name}.notify",
            watchdog=plan.hung_after,
            log=logs / f"{name}.log" if logs else None,
        )
        return lambda: _spawn(order)

    return of


def _logs(settings: Settings) -> Path | None:
    """Tell where services log to: not to a terminal, which would stop them when it is held (Ctrl-S)."""
    return settings.state_dir / "log" if sys.stderr.isatty() else None


def _spawn(order: Order) -> Child:
    if order.log:
        _put_aside(order.log)
    return Child(order)


def _put_aside(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.rename(log.with_suffix(".log.1"))


async def _narrate(plan: Plan, screen: Screen) -> None:
    """Show events as they come, and let the screen publish."""
    began = time.time()
    bus = await connect(plan.settings, source="up")
    screen.bus = bus
    try:
        await _show(bus, began, show_line(dates=False), quiet=plan.quiet)
    except OSError:  # nobody reads the events any more: go on without
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        await asyncio.Event().wait()
    finally:
        screen.bus = None
        await bus.close()


async def _show(bus: Bus, began: float, show: Callable[[Envelope], None], *, quiet: bool) -> None:
    if quiet:
        await asyncio.Event().wait()
    async for envelope in await bus.subscribe(after=await bus.seq_at(began)):
        show(envelope)
