"""What make_app gets: who the tenant is, its database, and a way to be told of another one."""

from __future__ import annotations

import asyncio
import inspect
import os
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from .mailbox import Mailbox

Switch = Callable[[str], "Awaitable[object] | object"]


class Tenant:
    """What make_app gets."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.name: str = order["tenant"]
        self.release: str = order["release"]
        """app-version."""
        self.plan: str = order["plan"]
        """"paid" or "free"."""
        self.settings: dict[str, str] = order["settings"]
        """[env] of tenant.toml."""
        self.database_url: str = order["env"].get("DATABASE_URL", "")
        """The one to use now, password included."""
        self._callbacks: list[Switch] = []
        self._mailbox: Mailbox | None = None
        self._news: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def on_database_change(self, callback: Switch) -> None:
        """Have `callback(url)` called when the tenant shall use another database; called in make_app.

        It may be a coroutine function. When it returns, all that begins from then on uses the new database;
        an exception says that this cannot be, and the process is replaced by another one.
        """
        self._callbacks.append(callback)

    def open_mailbox(self) -> Mailbox | None:
        """Listen for changes if the application wants to be told; None when it does not."""
        if self._callbacks:
            self._mailbox = Mailbox(lambda database, url: self._news.put_nowait((database, url)))
        return self._mailbox

    async def follow(self, identity: dict[str, Any]) -> None:
        """Switch whenever told to, one change after the other, and keep `identity` true; never comes back."""
        while self._mailbox:
            database, url = await self._news.get()
            failed = "" if database == identity["database"] else await self._switch(url)
            if not failed:
                identity["database"] = database
            await self._mailbox.answer(database, failed)

    async def _switch(self, url: str) -> str:
        """Call the application back; gives the name of what it raised, whose text may hold a password."""
        former, self.database_url = self.database_url, url
        try:
            for callback in self._callbacks:
                done = callback(url)
                if inspect.isawaitable(done):
                    await done
        except Exception as error:  # noqa: BLE001  # whatever the application raises, it has not switched
            self.database_url = former
            traceback.print_exc()
            return type(error).__name__
        os.environ["DATABASE_URL"] = url
        return ""
