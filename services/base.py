"""What every service is: one process, one loop, a clean start and stop; only its work is its own."""

import asyncio
import logging
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from bus import __version__, daemon, sdnotify
from bus.api import Bus, Subscription
from bus.client import connect
from bus.events import ServiceDown, ServiceUp
from bus.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")


class Service(ABC):
    """One of our own processes.

    A service is crash-only: what it cannot handle ends it, and its next start finds the truth in the world
    and in `latest`.
    """

    name: ClassVar[str]

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self.settings = settings
        self.bus = bus

    @abstractmethod
    async def start(self) -> None:
        """Get ready: when this returns, the service does its work and says so."""

    @abstractmethod
    async def run(self) -> None:
        """Work until cancelled."""

    @abstractmethod
    async def stop(self, by: signal.Signals) -> None:
        """Let go of everything. SIGTERM stops this service alone, SIGINT the whole product."""


class JournalLostError(Exception):
    """The journal was begun anew: a service starts again, to say everything again."""


async def serve(service: Service, stopping: "asyncio.Future[signal.Signals]") -> None:
    """Start a service, let it run until `stopping` is set, stop it; raises what ended it otherwise."""
    broken = _crashed_callback()
    journal = await _unless_stopped(_begin(service), stopping)
    if journal is None:
        return
    service.bus.publish(ServiceUp(service=service.name, pid=os.getpid(), version=__version__))
    sdnotify.send("READY=1")
    tasks: list[asyncio.Task[None]] = [
        asyncio.create_task(service.run()),
        asyncio.create_task(_end_on_reset(journal)),
        asyncio.create_task(sdnotify.keep_alive()),
    ]
    try:
        waited: list[asyncio.Future[Any]] = [*tasks, stopping, broken]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        for work in (*tasks, broken):
            if work.done():
                work.result()
    finally:
        sdnotify.send("STOPPING=1")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        by = stopping.result() if stopping.done() else signal.SIGTERM
        await service.stop(by)
    service.bus.publish(ServiceDown(service=service.name, pid=os.getpid(), reason=f"stopped by {by.name}"))
    await service.bus.flush(within=1.0)


def _crashed_callback() -> asyncio.Future[None]:
    """Give what gets the first exception that a callback on this loop raises.

    asyncio would log it and go on, and whatever the callback was to be told of, such as a process that has
    ended, would be lost for good; a service that is started again finds it in the world.
    """
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        if "handle" in context and not broken.done():
            broken.set_exception(context["exception"])

    loop.set_exception_handler(handle)
    return broken


async def _begin(service: Service) -> Subscription:
    journal = await service.bus.subscribe("JOURNAL_RESET")
    await service.start()
    return journal


async def _end_on_reset(journal: Subscription) -> None:
    async for envelope in journal:
        raise JournalLostError(envelope.event)


def main(service_class: type[Service]) -> None:
    """Be one service until told to stop: the whole of `python -m services.<name>`."""
    settings = daemon.begin(service_class.name)
    if asyncio.run(_main(service_class, settings)) == signal.SIGINT:
        daemon.end_by(signal.SIGINT)


async def _main(service_class: type[Service], settings: Settings) -> signal.Signals:
    """Give the signal that told us to stop."""
    stopping: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()

    def stop(by: signal.Signals) -> None:
        if not stopping.done():
            stopping.set_result(by)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    bus = await _unless_stopped(connect(settings, source=service_class.name), stopping)
    if bus is None:
        return stopping.result()  # else there would be a bus
    try:
        await serve(service_class(settings, bus), stopping)
    except JournalLostError:
        log.warning("the journal was begun anew: starting again to say everything again")
        raise SystemExit(1) from None
    finally:
        await bus.close()
    return stopping.result() if stopping.done() else signal.SIGTERM


async def _unless_stopped(
    work: Coroutine[Any, Any, T], stopping: "asyncio.Future[signal.Signals]"
) -> T | None:
    """Do what may take as long as the broker is away; None when we are told to stop before it is done."""
    task = asyncio.create_task(work)
    waited: list[asyncio.Future[Any]] = [task, stopping]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None
