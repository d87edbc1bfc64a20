"""Messages and descriptors between reactor and fork server."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.reactor.tenantbus_fork.wire import MESSAGE_MAX, MessageTooLongError, Outbox, receive


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setblocking(False)
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_a_message_takes_descriptors_along(pair: Pair) -> None:
    read, write = os.pipe()
    Outbox(pair[0]).send({"ask": "spawn"}, [write])
    os.close(write)
    received = receive(pair[1])
    assert received
    message, [descriptor] = received
    assert message == {"ask": "spawn"}
    assert not os.get_inheritable(descriptor)
    os.write(descriptor, b"!")
    os.close(descriptor)
    assert os.read(read, 2) == b"!"
    os.close(read)


def test_a_slow_peer_gets_everything_in_order(pair: Pair) -> None:
    outbox = Outbox(pair[0])
    read, write = os.pipe()
    os.close(read)
    count = 0
    while not outbox or count < 100:
        outbox.send({"n": count, "filler": "x" * 10_000}, [write])
        count += 1
    os.close(write)  # what waits has copies of its own
    got: list[int] = []
    while len(got) < count:
        received = receive(pair[1])
        assert received
        got.append(received[0]["n"])
        os.close(received[1][0])
        outbox.flush()
    assert got == list(range(count))
    assert not outbox


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_waits_can_be_dropped(pair: Pair) -> None:
    before = open_descriptors()
    outbox = Outbox(pair[0])
    while not outbox:
        outbox.send({"filler": "x" * 10_000}, [pair[0].fileno()])
    outbox.close()
    assert not outbox
    assert open_descriptors() == before


def test_the_end_comes_after_all_that_was_said(pair: Pair) -> None:
    Outbox(pair[1]).send({"unread": True})
    Outbox(pair[0]).send({"last": "words"})
    pair[0].close()  # with something unread: the kernel tells of a reset first
    assert receive(pair[1]) == ({"last": "words"}, [])
    assert receive(pair[1]) is None


def test_a_message_that_is_too_long_is_refused(pair: Pair) -> None:
    with pytest.raises(MessageTooLongError, match="bytes"):
        Outbox(pair[0]).send({"filler": "x" * MESSAGE_MAX})
    with pytest.raises(BlockingIOError):
        receive(pair[1])
