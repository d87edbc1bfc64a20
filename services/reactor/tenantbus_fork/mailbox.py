"""How a tenant's process is told of another database, over a socket that nobody but its parent is heard on.

The socket has an abstract name that the kernel chose (unix(7)), from which the tenant says READY: so the
fork server knows where to send to, and keeps no descriptor for it. The URL comes as a file without a name,
since it holds a password that the fork server must never have in its memory.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from array import array
from collections.abc import Callable

from . import notify

SUBSCRIBED = "X_TENANTBUS_SWITCHES"
SWITCHED = "X_TENANTBUS_SWITCHED"
NOT_SWITCHED = "X_TENANTBUS_NOT_SWITCHED"
REASON = "X_TENANTBUS_REASON"
"""Variables of sd_notify(3) that only we know."""


AGAIN = 0.01
"""Seconds until what the parent had no room for is sent again."""


class Mailbox:
    """The tenant's end."""

    def __init__(self, told: Callable[[str, str], None]) -> None:
        self._told = told
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("")
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    async def say_ready(self) -> None:
        """Say READY=1, and that this process can be told."""
        await self._say(f"READY=1\n{SUBSCRIBED}=1")

    async def answer(self, database: str, failed: str) -> None:
        """Tell the parent that the application uses the database now, or why it does not."""
        said = f"{NOT_SWITCHED}={database}\n{REASON}={failed}" if failed else f"{SWITCHED}={database}"
        await self._say(said)

    async def _say(self, message: str) -> None:
        """Tell the parent, as soon as it has room: ten messages may wait (net.unix.max_dgram_qlen)."""
        while not notify.send_by(self._socket, message):  # noqa: ASYNC110  # nobody tells that there is
            await asyncio.sleep(AGAIN)

    def close(self) -> None:
        """Be told no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        try:
            letter = notify.take(self._socket)
        except BlockingIOError:
            return
        try:
            if letter.pid == os.getppid() and letter.descriptors:
                self._told(json.loads(letter.data)["database"], _read_all(letter.descriptors[0]))
        finally:
            letter.close()


def tell(sender: socket.socket, address: bytes | str | None, database: str, url: int) -> None:
    """Tell a tenant to use a database whose URL is in a file; raises OSError when it cannot be told."""
    if address is None:
        raise OSError(errno.EDESTADDRREQ, "it has not asked for that")
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [url]))
    sender.sendmsg([json.dumps({"database": database}).encode()], [rights], 0, address)


def _read_all(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8", closefd=False) as file:
        file.seek(0)
        return file.read()
