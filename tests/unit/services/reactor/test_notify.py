"""sd_notify datagrams."""

import array
import os
import socket
from pathlib import Path

import pytest

from services.reactor.tenantbus_fork import notify


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"READY=1", {"READY": "1"}),
        (b"READY=1\nSTATUS=a=b c\n", {"READY": "1", "STATUS": "a=b c"}),
        (b"", {}),
        (b"nonsense\n=x", {"": "x"}),
        (b"STATUS=\xff", {"STATUS": "\ufffd"}),
    ],
)
def test_lines_are_taken_apart(data: bytes, said: dict[str, str]) -> None:
    assert notify.parse(data) == said


def test_the_kernel_says_who_sent_it(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_dir / "n"))
    with notify.listen(str(short_dir / "n")) as receiver:
        notify.send("READY=1")
        assert notify.receive(receiver) == (os.getpid(), {"READY": "1"}, None)
        with pytest.raises(BlockingIOError):
            notify.receive(receiver)
    notify.send("READY=1")  # nobody listens: no error


def test_descriptors_are_closed_which_answers_a_barrier(short_dir: Path) -> None:
    read, write = os.pipe()
    with (
        notify.listen(str(short_dir / "n")) as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(str(short_dir / "n"))
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [write]))
        sender.sendmsg([b"BARRIER=1"], [rights])
        os.close(write)
        assert notify.receive(receiver)[1] == {"BARRIER": "1"}
    assert os.read(read, 1) == b""
    os.close(read)
