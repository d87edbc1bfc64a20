"""What a fork server keeps about one tenant."""

from __future__ import annotations

import os
import signal
from typing import Any

from . import kernel, wire


class Ward:
    """A tenant's process while it lives, its exit until the reactor has heard of it, and its sockets."""

    def __init__(self, order: dict[str, Any], score: int, sockets: list[int], pid: int) -> None:
        self.tenant: str = order["tenant"]
        self.facts = {key: order[key] for key in ("release", "database", "port", "stamp", "key")}
        self.file: str = order["process_file"]
        self.watchdog: int = order["watchdog"]
        """WATCHDOG_USEC; counts from the first beat on, since many programs send none."""
        self.score, self.sockets = score, sockets
        self.pid = pid
        """0 when the process has ended."""
        self.started = kernel.started(pid)
        self.ready = False
        self.mailbox: bytes | str | None = None
        """Where its process can be told of another database; None when it has not asked for that."""
        self.told = ""
        """The database that it was told of last."""
        self.exit: dict[str, Any] | None = None

    def identity(self) -> dict[str, Any]:
        return {"tenant": self.tenant, "pid": self.pid, "started": self.started}

    def described(self) -> dict[str, Any]:
        return {
            **self.identity(),
            **self.facts,
            "ready": self.ready,
            "exit": self.exit,
            "switches": self.mailbox is not None,
        }

    def write_down(self, boot: str) -> None:
        """Write the process file, which outlives us; who reads it sees all of it or none. Raises OSError."""
        text = wire.to_json({**self.facts, **self.identity(), "boot": boot})
        draft = f"{self.file}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{text}\n".encode())
        finally:
            os.close(descriptor)
        os.rename(draft, self.file)  # noqa: PTH104  # as all of this: Path would cost each tenant 40 pages

    def end(self, code: int, status: int) -> dict[str, Any]:
        """Take down, and give, how the process ended: `code` and `status` as waitid(2) tells them."""
        exited = code == os.CLD_EXITED
        self.exit = {
            **self.identity(),
            "code": status if exited else None,
            "signal": "" if exited else signal_name(status),
        }
        self.pid = 0
        return self.exit

    def close(self) -> None:
        for descriptor in (self.score, *self.sockets):
            os.close(descriptor)


def signal_name(number: int) -> str:
    """SIGSEGV for 11; real-time signals have no names of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
