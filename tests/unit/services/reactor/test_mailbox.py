"""A tenant's mailbox: only its parent is heard."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from services.reactor.tenantbus_fork import mailbox, notify
from services.reactor.tenantbus_fork.mailbox import Mailbox
from tests.harness import DEADLINE


@pytest.fixture
def parent(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_dir / "n"))
    with notify.listen(str(short_dir / "n")) as receiver:
        yield receiver


def tell(parent: socket.socket, database: str, url: str) -> None:
    """Tell whoever says READY=1 next."""
    _, said, address = notify.receive(parent)
    assert said == {"READY": "1", mailbox.SUBSCRIBED: "1"}
    file = os.memfd_create("url")
    os.write(file, url.encode())
    mailbox.tell(parent, address, database, file)
    os.close(file)


async def heard(parent: socket.socket) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    box = Mailbox(lambda database, url: found.append((database, url)))
    await box.say_ready()
    tell(parent, "db2", "mysql://us:secret@host/shop")
    for _ in range(3):
        await asyncio.sleep(0)  # the loop looks at its descriptors
    box.close()
    return found


def test_what_the_parent_says_is_heard(parent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", os.getpid)
    assert asyncio.run(heard(parent)) == [("db2", "mysql://us:secret@host/shop")]


def test_what_anybody_else_says_is_not(parent: socket.socket) -> None:
    assert asyncio.run(heard(parent)) == []


def test_the_answer_names_the_database_and_what_was_raised(parent: socket.socket) -> None:
    async def answer() -> None:
        box = Mailbox(lambda _, __: None)
        await box.answer("db2", "")
        await box.answer("db2", "ValueError")
        box.close()

    asyncio.run(answer())
    assert notify.receive(parent)[1] == {mailbox.SWITCHED: "db2"}
    assert notify.receive(parent)[1] == {mailbox.NOT_SWITCHED: "db2", mailbox.REASON: "ValueError"}


def test_who_has_not_asked_cannot_be_told(parent: socket.socket) -> None:
    with pytest.raises(OSError, match="has not asked"):
        mailbox.tell(parent, None, "db2", 0)


def fill(senders: ExitStack) -> None:
    """Send to the parent until it has no room for more; one sender alone may not come so far."""
    for _ in range(8):
        sender = senders.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sender.setblocking(False)
        while notify.send_by(sender, "STATUS=here as well"):
            pass


def test_what_is_said_waits_until_there_is_room(parent: socket.socket) -> None:
    async def answer() -> None:
        box = Mailbox(lambda _, __: None)
        with ExitStack() as crowd:
            fill(crowd)
            saying = asyncio.create_task(box.answer("db2", ""))
            said: dict[str, str] = {}
            while mailbox.SWITCHED not in said:
                await asyncio.sleep(0)
                with suppress(BlockingIOError):
                    said = notify.receive(parent)[1]
            await saying
        box.close()

    asyncio.run(asyncio.wait_for(answer(), DEADLINE))
