"""Processes that are told to use another database, and have not said yet that they do."""

import asyncio
import os
from collections.abc import Callable
from typing import NamedTuple

from bus.errors import FileError
from bus.settings import Settings
from services.reactor import environment
from services.reactor.actions import AnyNews, NotSwitched, Process, Switch, Switched
from services.reactor.link import Link


class Told(NamedTuple):
    """Who has been told, and through whom."""

    order: Switch
    link: Link
    alarm: asyncio.TimerHandle


class Switches:
    """Tells processes, and answers for those that do not."""

    def __init__(self, settings: Settings, news: Callable[[AnyNews], None]) -> None:
        self._settings = settings
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._told: dict[Process, Told] = {}

    def tell(self, order: Switch, link: Link | None) -> None:
        """Tell a process, by the fork server that it comes from; answered by Switched or NotSwitched."""
        if link is None:
            self._loop.call_soon(self._fail, order, "its fork server is gone")
            return
        try:
            url = self._file(order)
        except (FileError, OSError) as error:
            self._loop.call_soon(self._fail, order, str(error))
            return
        try:
            link.ask("switch", [url], pid=order.process.pid, database=order.database)
        finally:
            os.close(url)
        within = self._settings.moves.confirm_within
        alarm = self._loop.call_later(
            within, self._give_up, order, f"it has not switched within {within:g} s"
        )
        self._told[order.process] = Told(order, link, alarm)

    def switched(self, tenant: str, process: Process, database: str) -> None:
        """Take the word of a process, which counts also when it comes late."""
        self.forget(process)
        self._news(Switched(tenant=tenant, process=process, database=database))

    def failed(self, process: Process, reason: str) -> None:
        """Take the word of a process that it does not switch."""
        if process in self._told:
            self._give_up(self._told[process].order, reason)

    def lose(self, link: Link) -> None:
        """A fork server is gone, and with it whatever was to be told through it."""
        for told in list(self._told.values()):
            if told.link is link:
                self._give_up(told.order, "its fork server is gone")

    def forget(self, process: Process) -> None:
        """Wait no longer; harmless when repeated."""
        told = self._told.pop(process, None)
        if told:
            told.alarm.cancel()

    def close(self) -> None:
        for process in list(self._told):
            self.forget(process)

    def _file(self, order: Switch) -> int:
        """Put the URL where nobody but the tenant looks: into a file without a name.

        Raises FileError for passwords that cannot be read, OSError.
        """
        directory = self._settings.tenants_dir / order.tenant
        env = environment.for_tenant(self._settings, order, 0, directory)
        descriptor = os.memfd_create("database")
        os.write(descriptor, env["DATABASE_URL"].encode())
        return descriptor

    def _give_up(self, order: Switch, reason: str) -> None:
        self.forget(order.process)
        self._fail(order, reason)

    def _fail(self, order: Switch, reason: str) -> None:
        self._news(NotSwitched(tenant=order.tenant, process=order.process, reason=reason))
