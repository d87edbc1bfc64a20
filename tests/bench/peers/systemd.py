"""systemd: a manager of our own (`systemd --user`)."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import usermanager
from tests.bench.peers.peer import Mode, NotMeasuredError, Peer

LISTEN_BEGIN = 3
"""The first passed descriptor (sd_listen_fds(3))."""

TARGET = "[Unit]\nDefaultDependencies=no\nWants={units}\n"

SERVICE = """\
[Unit]
DefaultDependencies=no
StartLimitIntervalSec={limit}
[Service]
Type=notify
ExecStart={command}
Restart=always
LimitCORE=0
{more}
"""

SOCKET = "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=127.0.0.1:{port}\nBacklog=4096\n"


class Systemd(Peer):
    name = "systemd --user"
    best = "RestartSec 0, its sockets"
    checks = "WatchdogSec 1"

    def install(self) -> str:
        if reason := usermanager.lacking():
            raise NotMeasuredError(reason)
        told = subprocess.run(["systemctl", "--version"], check=True, capture_output=True, text=True)
        return told.stdout.split()[1]

    @contextmanager
    def running(self, ports: Sequence[int], mode: Mode) -> Iterator[list[int]]:
        units, runtime = self.directory / "units", self.directory / "runtime"
        units.mkdir(exist_ok=True)
        runtime.mkdir(mode=0o700, exist_ok=True)
        for old in units.iterdir():
            old.unlink()
        names = [name for port in ports for name in self._write_units(units, port, mode)]
        (units / "bench.target").write_text(TARGET.format(units=" ".join(names)))
        with usermanager.UserManager(self.directory, units, runtime).running("bench.target") as manager:
            yield [manager.pid]

    def _write_units(self, units: Path, port: int, mode: Mode) -> list[str]:
        service, socket = units / f"tenant-{port}.service", units / f"tenant-{port}.socket"
        if mode is Mode.DEFAULT:
            command, more, limit = self.tenant("port", port), "", "10s"
        else:
            command, more, limit = self.tenant("descriptor", LISTEN_BEGIN), "RestartSec=0", "0"
            socket.write_text(SOCKET.format(port=port))
        if mode is Mode.CHECKED:
            more += "\nWatchdogSec=1"
        service.write_text(SERVICE.format(command=" ".join(command), more=more, limit=limit))
        return [unit.name for unit in (service, socket) if unit.exists()]
