"""The tiny application that a fork server warms tornado up with."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable

from tornado.iostream import IOStream
from tornado.web import Application, RequestHandler

from . import page
from .serving import CountingServer, Score


class _Echo(RequestHandler):
    def get(self) -> None:
        self.write({"warm": self.get_argument("a", "")})

    post = get


async def exercise(ours: socket.socket, theirs: socket.socket, requests: Iterable[str]) -> None:
    """Answer the requests over a private pair of sockets."""
    access = logging.getLogger("tornado.access")
    access.disabled = True  # nobody wants to read of these
    server = CountingServer(Application([("/", _Echo)]), xheaders=True)
    server.count(Score(page.scratch()), {})
    server.handle_stream(IOStream(ours), ("127.0.0.1", 0))
    reader, writer = await asyncio.open_connection(sock=theirs)
    for request in requests:
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
    writer.close()
    await writer.wait_closed()
    await server.close_all_connections()
    access.disabled = False
