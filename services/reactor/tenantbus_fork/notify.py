"""sd_notify from both ends (sd_notify(3)): what tenants say, and who said it."""

from __future__ import annotations

import os
import socket
import struct

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


def receive(receiver: socket.socket) -> tuple[int, dict[str, str]]:
    """Take one datagram: the sender's pid and what it says; raises BlockingIOError when there is none.

    Descriptors that came along are closed, which is also the whole answer to BARRIER=1.
    """
    data, ancillary, _, _ = receiver.recvmsg(DATAGRAM_MAX, _SPACE, socket.MSG_CMSG_CLOEXEC)
    pid = 0
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
        elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            for (descriptor,) in struct.iter_unpack("i", content[: len(content) // 4 * 4]):
                os.close(descriptor)
    return pid, parse(data)


def parse(data: bytes) -> dict[str, str]:
    """Split a datagram into its KEY=VALUE lines; what is no such line is ignored."""
    lines = data.decode("utf-8", "replace").split("\n")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _address(name: str) -> str:
    return f"\0{name[1:]}" if name.startswith("@") else name


def send(message: str) -> None:
    """Tell our parent, if it listens; a parent that is gone is nobody to tell."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(message.encode(), _address(address))
        except OSError:
            return
