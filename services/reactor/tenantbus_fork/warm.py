"""The tiny application that a fork server warms tornado up with."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Iterable

from tornado.web import Application, RequestHandler

from . import page
from .serving import CHUNK, CountingServer, Score


class _Echo(RequestHandler):
    def get(self) -> None:
        self.write({"warm": self.get_argument("a", "")})

    post = get


_numbers = itertools.count()


def make_app() -> Application:
    """Make an application with a pattern that is new: those that are known already are not compiled."""
    return Application([("/", _Echo), (f"/{next(_numbers)}/([a-z]+)", _Echo)])


async def exercise(listener: socket.socket, requests: Iterable[str]) -> None:
    """Begin to serve as a tenant does, and answer the requests, which come in at a socket nobody knows."""
    access = logging.getLogger("tornado.access")
    access.disabled = True  # nobody wants to read of these
    server = CountingServer(make_app(), xheaders=True, chunk_size=CHUNK)
    server.count(Score(page.scratch()), {})
    server.add_socket(listener)
    reader, writer = await asyncio.open_unix_connection(listener.getsockname())
    for request in requests:
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
    writer.close()
    await writer.wait_closed()
    server.stop()
    await server.close_all_connections()
    access.disabled = False
