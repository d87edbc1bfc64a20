"""systemd: a manager of our own (`systemd --user`), in a cgroup and a mount namespace of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers.peer import Mode, NotMeasuredError, Peer, daemon
from tests.harness import eventually

SYSTEMD = Path("/lib/systemd/systemd")

LISTEN_BEGIN = 3
"""The first passed descriptor (sd_listen_fds(3))."""

CGROUPS = Path("/sys/fs/cgroup")

BEGIN = """\
for group in "$@"; do echo $$ > "$group/cgroup.procs" || exit 1; done
mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system && exec {systemd} --user --unit=bench.target
"""
"""It would move whatever else is in its cgroup, so it must be alone there; and it wants a booted system."""

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
        if not (SYSTEMD.exists() and shutil.which("systemctl") and shutil.which("unshare")):
            raise NotMeasuredError("there is no systemd")
        if os.getuid():
            raise NotMeasuredError("a manager in a cgroup of its own needs root")
        self._groups = [root / self.directory.name for root in _hierarchies()]
        told = subprocess.run(["systemctl", "--version"], check=True, capture_output=True, text=True)
        return told.stdout.split()[1]

    @contextmanager
    def running(self, ports: Sequence[int], mode: Mode) -> Iterator[list[int]]:
        units = self.directory / "units"
        units.mkdir(exist_ok=True)
        for old in units.iterdir():
            old.unlink()
        names = [name for port in ports for name in self._write_units(units, port, mode)]
        (units / "bench.target").write_text(TARGET.format(units=" ".join(names)))
        runtime = self.directory / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        environ = {
            "XDG_RUNTIME_DIR": str(runtime),
            "SYSTEMD_UNIT_PATH": str(units),  # nothing of the machine's
            "HOME": str(self.directory),
        }
        groups = [str(group) for group in self._groups]
        command = ["unshare", "--mount", "sh", "-c", BEGIN.format(systemd=SYSTEMD), "sh", *groups]
        for group in self._groups:
            group.mkdir(exist_ok=True)
        try:
            with daemon(self.directory, *command, env=environ) as manager:
                yield [manager.pid]
        finally:
            eventually(self._groups_are_removed)

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

    def _groups_are_removed(self) -> bool:
        """Remove our cgroups in all hierarchies, from below; they are busy while a process is in them."""
        for group in CGROUPS.glob(f"**/{self.directory.name}"):
            for below in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                below.rmdir()
            group.rmdir()
        return True


def _hierarchies() -> list[Path]:
    """Tell where systemd looks for its place: version 2, or what stands in for it beside version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    found = [CGROUPS / name for name in ("systemd", "unified") if (CGROUPS / name / "cgroup.procs").exists()]
    if not found:
        raise NotMeasuredError("there is no cgroup hierarchy for it")
    return found
