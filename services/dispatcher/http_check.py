"""Asks a tenant for its health where it serves: one GET, and only the status of the answer counts.

The request is HTTP/1.1 with `Connection: close` (RFC 9112 section 9.6). The caller sets the deadline, by
cancelling.
"""

import asyncio
import re
import socket
from pathlib import Path

HEAD_MAX = 65536
"""Bytes of an answer's head that are read at most."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")


class CheckFailedError(Exception):
    """A tenant did not answer, or not in HTTP; the message is the reason."""


async def get_status(place: Path | int, host: str, target: str) -> int:
    """Give the status that the server on a unix socket, or on a loopback port, answers with.

    Raises CheckFailedError.
    """
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tenantbus\r\nConnection: close\r\n\r\n"
    family = socket.AF_INET if isinstance(place, int) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        try:
            await _connect(connection, place)
            await asyncio.get_running_loop().sock_sendall(connection, request.encode())
            head = await _head(connection)
        except BlockingIOError:  # unix(7): a full queue of connections, and not "under way" as with TCP
            raise CheckFailedError("connections are not accepted: the queue is full") from None
        except OSError as error:
            raise CheckFailedError(error.strerror or str(error)) from error
    found = _STATUS_LINE.match(head)
    if not found:
        raise CheckFailedError(f"no HTTP: {head[:40]!r}" if head else "closed without an answer")
    return int(found[1])


async def _connect(connection: socket.socket, place: Path | int) -> None:
    if isinstance(place, int):
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", place))
    else:
        connection.connect(str(place))


async def _head(connection: socket.socket) -> bytes:
    """Read until the head of the answer is complete, or the server has said all it will."""
    loop = asyncio.get_running_loop()
    head = b""
    while b"\r\n\r\n" not in head and len(head) < HEAD_MAX:
        chunk = await loop.sock_recv(connection, HEAD_MAX)
        if not chunk:
            break
        head += chunk
    return head
