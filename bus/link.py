"""A ZeroMQ socket on an asyncio loop: one callback a frame, no task, nothing to do while nothing comes.

ZeroMQ's descriptor is edge-triggered and tells of both directions at once (zmq_getsockopt(3), ZMQ_FD): after
every wake-up and every send the socket has to be asked what it is ready for.
"""

import asyncio
from collections.abc import Callable

import zmq

BURST = 100
"""Messages after which others on the loop get their turn."""


class Link:
    def __init__(
        self, socket: "zmq.Socket[bytes]", receive: Callable[[bytes], None], writable: Callable[[], None]
    ) -> None:
        self._socket, self._receive, self._writable = socket, receive, writable
        self._loop = asyncio.get_running_loop()
        self._blocked = False
        self._again: asyncio.Handle | None = None
        self._descriptor: int = socket.FD
        self._loop.add_reader(self._descriptor, self._ready)
        self._soon()

    def send(self, frame: bytes) -> bool:
        """Send without waiting; False means not now, and `writable` is called when it is worth a try."""
        self._soon()
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            self._blocked = True
            return False
        return True

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._again:
            self._again.cancel()
        self._socket.close(linger=0)

    def _soon(self) -> None:
        if self._again is None:
            self._again = self._loop.call_soon(self._ready)

    def _ready(self) -> None:
        self._again = None
        for _ in range(BURST):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._receive(frames[0] if len(frames) == 1 else b"")
        else:
            self._soon()
        if self._blocked and int(self._socket.EVENTS) & zmq.POLLOUT:
            self._blocked = False
            self._writable()
