"""The control protocol between reactor and fork server: one JSON object a packet, descriptors beside it.

The packets are those of a SOCK_SEQPACKET unix socket, the descriptors travel by SCM_RIGHTS (unix(7)).
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Any

MESSAGE_MAX = 64 * 1024
"""Bytes of one packet: below the send buffer that Linux gives by default."""

DESCRIPTORS_MAX = 128
"""In one packet; Linux allows 253 (SCM_MAX_FD). Those on their way make closing any other socket slow."""


to_json = json.JSONEncoder(separators=(",", ":")).encode
"""Made once: json.dumps makes one each time."""


class MessageTooLongError(Exception):
    """A message does not fit into one packet."""


def encode(message: dict[str, Any]) -> bytes:
    """Raises MessageTooLongError."""
    packet = to_json(message).encode()
    if len(packet) > MESSAGE_MAX:
        raise MessageTooLongError(f"{len(packet)} bytes, {MESSAGE_MAX} are possible")
    return packet


def receive(peer: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Take one message and the descriptors that came with it; None at the end of the connection.

    Raises BlockingIOError when there is none yet, ConnectionError when the peer is gone.
    """
    try:
        packet, descriptors, flags = _receive(peer)
    except ConnectionResetError:  # it ended without reading all of ours; what it said before is still there
        packet, descriptors, flags = _receive(peer)
    if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
        for descriptor in descriptors:
            os.close(descriptor)
        raise ConnectionAbortedError("a message was cut off: too long, or no descriptors left")
    return (json.loads(packet), descriptors) if packet else None


def _receive(peer: socket.socket) -> tuple[bytes, list[int], int]:
    """Like socket.recv_fds, which takes flags and does not use them."""
    space = socket.CMSG_SPACE(DESCRIPTORS_MAX * array("i").itemsize)
    packet, ancillary, flags, _ = peer.recvmsg(MESSAGE_MAX, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return packet, list(descriptors), flags


class Outbox:
    """Messages on their way to a peer that may be slow: nothing here ever waits."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._waiting: deque[tuple[bytes, list[int]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message after those that wait; copies of the descriptors wait with it.

        Raises MessageTooLongError, and OSError when the peer is gone.
        """
        self._waiting.append((encode(message), [os.dup(descriptor) for descriptor in descriptors]))
        self.flush()

    def flush(self) -> None:
        """Send what the peer takes now; raises OSError when it is gone."""
        while self._waiting:
            packet, descriptors = self._waiting[0]
            try:
                if descriptors:
                    socket.send_fds(self._peer, [packet], descriptors)
                else:
                    self._peer.send(packet)
            except BlockingIOError:
                return
            self._drop_first()

    def close(self) -> None:
        """Drop what waits."""
        while self._waiting:
            self._drop_first()

    def _drop_first(self) -> None:
        for descriptor in self._waiting.popleft()[1]:
            os.close(descriptor)
