"""Asks a tenant for its health where it serves: one GET over a connection of its own.

The request is HTTP/1.1 with `Connection: close` (RFC 9112 section 9.6). The caller sets the deadline, by
cancelling.
"""

import asyncio
import re
import socket
from pathlib import Path
from typing import NamedTuple

HEAD_MAX = 65536
"""Bytes of an answer's head that are read at most."""

BODY_MAX = 4096
"""Bytes of an answer's body that are of interest."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)


class CheckFailedError(Exception):
    """A tenant did not answer, or not in HTTP; the message is the reason."""


class Answer(NamedTuple):
    status: int
    body: bytes
    """Its beginning; of an answer that does not tell its length, only what came at once."""


async def get(place: Path | int, host: str, target: str) -> Answer:
    """Give what the server on a unix socket, or on a loopback port, answers.

    Raises CheckFailedError.
    """
    request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tenantbus\r\nConnection: close\r\n\r\n"
    family = socket.AF_INET if isinstance(place, int) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        try:
            await _connect(connection, place)
            await asyncio.get_running_loop().sock_sendall(connection, request.encode())
            head, body = await _head(connection)
            found = _STATUS_LINE.match(head)
            if not found:
                raise CheckFailedError(f"no HTTP: {head[:40]!r}" if head else "closed without an answer")
            return Answer(int(found[1]), await _body(connection, head, body))
        except BlockingIOError:  # unix(7): a full queue of connections, and not "under way" as with TCP
            raise CheckFailedError("connections are not accepted: the queue is full") from None
        except OSError as error:
            raise CheckFailedError(error.strerror or str(error)) from error


async def _connect(connection: socket.socket, place: Path | int) -> None:
    if isinstance(place, int):
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", place))
    else:
        connection.connect(str(place))


async def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    """Read until the head of the answer is complete, or the server has said all; gives the rest too."""
    loop = asyncio.get_running_loop()
    read = b""
    while b"\r\n\r\n" not in read and len(read) < HEAD_MAX:
        chunk = await loop.sock_recv(connection, HEAD_MAX)
        if not chunk:
            break
        read += chunk
    head, end, body = read.partition(b"\r\n\r\n")
    return head + end, body


async def _body(connection: socket.socket, head: bytes, body: bytes) -> bytes:
    """Read the rest of a body, as far as it says how long it is."""
    length = _LENGTH.search(head)
    wanted = min(int(length[1]), BODY_MAX) if length else 0
    while len(body) < wanted:
        chunk = await asyncio.get_running_loop().sock_recv(connection, BODY_MAX)
        if not chunk:
            break
        body += chunk
    return body[:BODY_MAX]
