"""The event loop and the HTTP server of a tenant: tornado's own, that also keep the score."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any

from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from . import page

CHUNK = 16 * 1024
"""Bytes that are read from a connection at once: a tenant that has once had the room for them keeps it."""

PEEKED = 512
"""Bytes of a request that are looked at before tornado gets it."""

IDENTIFY = b"GET /-/identity HTTP/1.1\r\n"

IDENTITY = "/-/identity"
"""Asked for by those who must be sure whom they talk to; the application never sees it."""


class ScoringSelector(selectors.EpollSelector):
    """Writes when the loop leaves its selector and when it waits again: a loop that waits is healthy."""

    def __init__(self, score: memoryview) -> None:
        super().__init__()
        self._score = score

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        score = self._score
        score[page.BUSY_SINCE] = 0
        ready = super().select(timeout)
        score[page.LOOPS] += 1
        score[page.BUSY_SINCE] = time.monotonic_ns()
        return ready


class Score:
    """Counts what is being served."""

    def __init__(self, numbers: memoryview) -> None:
        self._numbers = numbers
        self._busy: dict[object, httputil.HTTPMessageDelegate] = {}
        self._silent: set[object] = set()
        self.websockets: set[WebSocketHandler] = set()
        self.changed = asyncio.Event()
        """Set whenever something that was served is over."""

    @property
    def in_flight(self) -> int:
        return len(self._busy)

    @property
    def silent(self) -> int:
        """Connections that were accepted and have not asked for anything yet."""
        return len(self._silent)

    def connected(self, connection: object) -> None:
        self._silent.add(connection)

    def began(self, connection: object, delegate: httputil.HTTPMessageDelegate) -> None:
        self._silent.discard(connection)
        self._busy[connection] = delegate
        self._numbers[page.IN_FLIGHT] = len(self._busy)

    def answered(self, connection: object) -> None:
        """Count an answer that is sent to the last byte, or that nobody waits for any more."""
        delegate = self._busy.pop(connection, None)
        if delegate is None:
            return
        self._numbers[page.IN_FLIGHT] = len(self._busy)
        self._numbers[page.REQUESTS] += 1
        handler = handler_of(delegate)
        if handler is not None and handler.get_status() >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._numbers[page.ERRORS] += 1
        self.changed.set()

    def identified(self) -> None:
        """Count an answer that tornado knows nothing of."""
        self._numbers[page.REQUESTS] += 1

    def closed(self, connection: object) -> None:
        self.answered(connection)
        self._silent.discard(connection)
        self.changed.set()

    def follow(self, websocket: WebSocketHandler) -> None:
        """Count a websocket from its `open` to its `on_close`, which the application may have overridden."""
        opened, closed = websocket.open, websocket.on_close

        def count_open(*args: str, **kwargs: str) -> Awaitable[None] | None:
            self._set_open(self.websockets | {websocket})
            return opened(*args, **kwargs)

        def count_close() -> None:
            self._set_open(self.websockets - {websocket})
            closed()

        websocket.open = count_open
        websocket.on_close = count_close  # type: ignore[method-assign]

    def _set_open(self, websockets: set[WebSocketHandler]) -> None:
        self.websockets = websockets
        self._numbers[page.WEBSOCKETS] = len(websockets)
        self.changed.set()


class CountingServer(HTTPServer):
    """tornado's HTTP server, that tells a Score what it does."""

    score: Score
    identity: dict[str, Any]
    """What is answered to who asks who this is."""
    _seen: set[object]

    def count(self, score: Score, identity: dict[str, Any]) -> None:
        """Must come first: HTTPServer is configurable, and has no constructor to add to."""
        self.score = score
        self.identity = identity
        self._seen = set()

    def drain(self) -> None:
        """Take no further connection, and answer what still comes on the old ones with Connection: close."""
        self.stop()
        self.conn_params.no_keep_alive = True

    def _handle_connection(self, connection: socket.socket, address: object) -> None:
        # what tornado calls with a connection; one without this answers the same, and takes longer for it
        if not self._identify(connection):
            super()._handle_connection(connection, address)

    def _identify(self, connection: socket.socket) -> bool:
        """Answer at once who only asks who this is: it wakes an idle tenant for as short as can be."""
        try:
            asked = connection.recv(PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            if not (asked.startswith(IDENTIFY) and asked.endswith(b"Connection: close\r\n\r\n")):
                return False
            connection.recv(len(asked))  # or the other end would see a reset
            body = json.dumps(self.identity)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall((head + body).encode())
        except OSError:  # it has not asked yet, or is gone: tornado's matter
            return False
        connection.close()
        self.score.identified()
        return True

    def start_request(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        # tornado calls this when it begins to wait for a request: the one before is over
        if server_conn in self._seen:
            self.score.answered(server_conn)
        else:
            self._seen.add(server_conn)
            self.score.connected(server_conn)
        identify = _Identify(request_conn, self.identity)
        return _Counted(super().start_request(server_conn, request_conn), identify, self.score, server_conn)

    def on_close(self, server_conn: object) -> None:
        self._seen.discard(server_conn)
        self.score.closed(server_conn)
        super().on_close(server_conn)


class _Counted(httputil.HTTPMessageDelegate):
    """Hands a request on, to the application or to our own answer, and tells that it began."""

    def __init__(
        self,
        inner: httputil.HTTPMessageDelegate,
        identify: httputil.HTTPMessageDelegate,
        score: Score,
        connection: object,
    ) -> None:
        self._inner, self._identify, self._score, self._connection = inner, identify, score, connection

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> Awaitable[None] | None:
        if isinstance(start_line, httputil.RequestStartLine) and start_line.path == IDENTITY:
            self._inner = self._identify
        self._score.began(self._connection, self._inner)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()
        handler = handler_of(self._inner)
        if isinstance(handler, WebSocketHandler):
            self._score.follow(handler)

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()


class _Identify(httputil.HTTPMessageDelegate):
    """Answers who this is."""

    def __init__(self, connection: httputil.HTTPConnection, identity: dict[str, Any]) -> None:
        self._connection, self._identity = connection, identity

    def finish(self) -> None:
        body = json.dumps(self._identity).encode()
        headers = httputil.HTTPHeaders(
            {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Cache-Control": "no-store",
            }
        )
        self._connection.write_headers(httputil.ResponseStartLine("HTTP/1.1", 200, "OK"), headers, body)
        self._connection.finish()


def handler_of(delegate: object) -> RequestHandler | None:
    """Find who answers a request, behind the delegates of proxy headers and routers."""
    while delegate is not None:
        handler = getattr(delegate, "handler", None)
        if isinstance(handler, RequestHandler):
            return handler
        delegate = getattr(delegate, "delegate", None)
    return None
