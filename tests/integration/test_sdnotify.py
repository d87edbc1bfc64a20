import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import sdnotify
from tests.harness import DEADLINE


@pytest.fixture
def manager(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(short_dir / "notify"))
        listener.settimeout(DEADLINE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(short_dir / "notify"))
        yield listener


def test_message_reaches_the_manager(manager: socket.socket) -> None:
    sdnotify.send("READY=1\nSTATUS=3 tenants")
    assert manager.recv(100) == b"READY=1\nSTATUS=3 tenants"


def test_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = f"tenantbus-test-{os.getpid()}"
        listener.bind(f"\0{name}")
        listener.settimeout(DEADLINE)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        sdnotify.send("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_silence_when_nobody_listens(monkeypatch: pytest.MonkeyPatch, short_dir: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    sdnotify.send("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_dir / "gone"))
    sdnotify.send("READY=1")


def test_watchdog_beats_at_half_the_allowed_interval(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert sdnotify.watchdog_interval() == 0.01

    async def beat_twice() -> None:
        beats = asyncio.create_task(sdnotify.keep_alive())
        for _ in range(2):
            assert await asyncio.to_thread(manager.recv, 100) == b"WATCHDOG=1"
        beats.cancel()

    asyncio.run(beat_twice())


def test_watchdog_meant_for_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    assert sdnotify.watchdog_interval() is None
