"""sd_notify from both ends (sd_notify(3)): what tenants say, and who said it."""

from __future__ import annotations

import os
import socket
import struct
from array import array
from typing import NamedTuple

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_SPACE = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * 16)
DATAGRAM_MAX = 4096


def listen(name: str) -> socket.socket:
    """Bind a notify socket; whoever sends to it is known by the kernel's word.

    A name with @ in front is no file: it is there for every user, and gone with this process.
    """
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    receiver.bind(_address(name))
    return receiver


class Letter(NamedTuple):
    """One datagram, and what the kernel says about it."""

    pid: int
    """The sender's."""
    data: bytes
    address: bytes | str | None
    """Where an answer would reach the sender, if it has bound its socket."""
    descriptors: list[int]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


def receive(receiver: socket.socket) -> tuple[int, dict[str, str], bytes | str | None]:
    """Take one datagram: the sender's pid, what it says, its address; raises BlockingIOError for none.

    Descriptors that came along are closed, which is also the whole answer to BARRIER=1.
    """
    letter = take(receiver)
    letter.close()
    return letter.pid, parse(letter.data), letter.address


def take(receiver: socket.socket) -> Letter:
    """Take one datagram with its descriptors, which are the caller's then; raises BlockingIOError."""
    data, ancillary, _, address = receiver.recvmsg(DATAGRAM_MAX, _SPACE, socket.MSG_CMSG_CLOEXEC)
    pid, descriptors = 0, array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
        elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return Letter(pid, data, address, list(descriptors))


def parse(data: bytes) -> dict[str, str]:
    """Split a datagram into its KEY=VALUE lines; what is no such line is ignored."""
    lines = data.decode("utf-8", "replace").split("\n")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _address(name: str) -> str:
    return f"\0{name[1:]}" if name.startswith("@") else name


def send(message: str) -> None:
    """Tell our parent, if it listens; a parent that is gone is nobody to tell."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        send_by(sender, message)


def send_by(sender: socket.socket, message: str) -> bool:
    """Like `send`, with a socket of one's own; False when that does not wait, and there is no room."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        try:
            sender.sendto(message.encode(), _address(address))
        except BlockingIOError:
            return False
        except OSError:  # nobody listens
            pass
    return True
