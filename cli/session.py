"""What commands share: the settings, a connection to the bus, who is asking, names that are meant."""

import asyncio
import difflib
import getpass
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import click

from bus import settings as settings_file
from bus.api import Bus
from bus.client import connect
from bus.errors import FileError
from bus.settings import Settings
from cli.failure import Failure

T = TypeVar("T")

WITHIN = 2.0
"""Seconds that a command waits for the broker; long enough for one that is just being restarted."""


def load_settings() -> Settings:
    """Read the settings that the command line means; raises FileError."""
    return settings_file.load(settings_file.find(click.get_current_context().find_root().obj))


def reach_settings() -> Settings:
    """Read where the bus is, for who only wants to talk to it: what else is wrong is told, and no obstacle.

    Raises FileError when even that cannot be read.
    """
    try:
        return load_settings()
    except FileError as error:
        try:
            settings = settings_file.load_paths(Path(error.file))
        except FileError:
            raise error from None
        print(f"bus: {error}; it does not matter for this command", file=sys.stderr)
        return settings


def on_bus(settings: Settings, work: Callable[[Bus], Awaitable[T]]) -> T:
    """Do something with a connection to the bus; raises BusUnavailableError when there is no broker."""
    logging.getLogger("bus").addHandler(logging.NullHandler())  # the error says it all
    logging.getLogger("bus").propagate = False

    async def connected() -> T:
        bus = await connect(settings, source="command", within=WITHIN)
        try:
            return await work(bus)
        finally:
            await bus.close()

    return asyncio.run(connected())


def who() -> str:
    """Tell who asks, as user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def meant(asked: Sequence[str], known: Collection[str], what: str) -> list[str]:
    """Give the known names that were asked for by name or by a pattern such as "acme-*".

    Raises Failure when a name or pattern means nothing.
    """
    found: list[str] = []
    for name in asked:
        matching = sorted(each for each in known if fnmatchcase(each, name))
        if not matching:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise Failure(f"there is no {what} {name!r}{hint}")
        found += matching
    return list(dict.fromkeys(found))
