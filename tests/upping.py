"""A directory made by `bus init`, with `bus up` running in it; and nothing left of it afterwards."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.commandline import BUS, bus
from tests.harness import DEADLINE, Program, eventually, free_port, short_directory


class Shop:
    """What `bus init` made; its tenants' ports are out of the way of others."""

    def __init__(self, place: Path) -> None:
        self.place = place
        bus("init", ".", cwd=place)
        file, first = place / "tenantbus.toml", free_port()
        text, count = re.subn(
            r"port_range = \[.*\]", f"port_range = [{first}, {first + 9}]", file.read_text()
        )
        assert count == 1
        file.write_text(text)

    @contextmanager
    def up(self, *options: str) -> Iterator[Program]:
        """`bus up`, until the block ends; then everything is stopped."""
        program = Program(BUS, "up", *options, cwd=self.place)
        try:
            eventually(lambda: "all services run" in program.output)
            yield program
        finally:
            program.signal(signal.SIGINT)
            try:
                program.process.wait(2 * DEADLINE)
            finally:
                program.signal(signal.SIGKILL)
                program.process.wait()

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(bus(*arguments, "--json", cwd=self.place))
        return rows

    def tenant(self, name: str) -> dict[str, Any]:
        return next(row for row in self.json("ps") if row["tenant"] == name)

    def service(self, name: str) -> dict[str, Any]:
        return next(row for row in self.json("services") if row["service"] == name)

    def serves(self, name: str, *, within: float = 5.0) -> str:
        """Ask the tenant over its TCP port; gives its page, or raises OSError."""
        port = int((self.place / "tenants" / name / "run" / "port").read_text())
        connection = HTTPConnection("127.0.0.1", port, timeout=within)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            page = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, page
        return page

    def processes(self) -> list[int]:
        """All that runs in or on this directory."""
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if self._is_ours(entry)]

    def _is_ours(self, process: Path) -> bool:
        with suppress(OSError):
            if int(process.name) == os.getpid():
                return False
            command = (process / "cmdline").read_bytes()
            return os.fsencode(self.place) in command or (process / "cwd").readlink().is_relative_to(
                self.place
            )
        return False


@contextmanager
def shop() -> Iterator[Shop]:
    with short_directory() as place:
        made = Shop(place)
        try:
            yield made
        finally:
            left = made.processes()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert left == []
