"""Score pages for tests, filled in as the fork server does it."""

import mmap
import os
import socket
import time
from pathlib import Path

from services.score import MAGIC, PAGE_SIZE, Slot


def say(path: Path, target: str) -> None:
    """Send a request to a unix socket and do not wait for the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: acme\r\n\r\n".encode())


class ScorePage:
    """One page, open for writing; a new file takes the old one's place in one step."""

    def __init__(self, file: Path, *, pid: int = 0, started: int = 0, ready: bool = True) -> None:
        self.file = file
        draft = file.with_name(f".{file.name}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, PAGE_SIZE)
            self._memory = mmap.mmap(descriptor, PAGE_SIZE)
        finally:
            os.close(descriptor)
        self._page = memoryview(self._memory).cast("Q")
        self[Slot.PID] = pid
        self[Slot.STARTED] = started
        self[Slot.READY_AT] = time.monotonic_ns() if ready else 0
        self[Slot.MAGIC] = MAGIC
        draft.rename(file)

    def __getitem__(self, slot: Slot) -> int:
        return self._page[slot]

    def __setitem__(self, slot: Slot, value: int) -> None:
        self._page[slot] = value

    def close(self) -> None:
        self._page.release()
        self._memory.close()
