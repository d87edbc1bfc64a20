"""A systemd of our own: `systemd --user`, in a cgroup and a mount namespace of its own."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.harness import DEADLINE, Program, eventually

SYSTEMD = Path("/lib/systemd/systemd")
CGROUPS = Path("/sys/fs/cgroup")

BEGIN = """\
for group in "$@"; do echo $$ > "$group/cgroup.procs" || exit 1; done
mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system && exec {systemd} --user --unit={unit}
"""
"""It would move whatever else is in its cgroup, so it must be alone there; and it wants a booted system."""


def lacking() -> str:
    """Tell why there cannot be one here; "" when there can."""
    if not (SYSTEMD.exists() and shutil.which("systemctl") and shutil.which("unshare")):
        return "there is no systemd"
    if os.getuid():
        return "a manager in a cgroup of its own needs root"
    return "" if _hierarchies() else "there is no cgroup hierarchy for it"


class UserManager:
    """Knows the units in a directory, and no others."""

    def __init__(self, home: Path, units: Path, runtime: Path) -> None:
        self._home = home
        self._group = "-".join(home.parts[-2:])
        self._groups = [root / self._group for root in _hierarchies()]
        self._environ = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(home),  # where state is kept before systemd 254
            "XDG_STATE_HOME": str(home),
            "SYSTEMD_UNIT_PATH": str(units),
        }

    @contextmanager
    def running(self, unit: str) -> Iterator[Program]:
        """Have it start a unit; in the end nothing that it started is left."""
        groups = [str(group) for group in self._groups]
        begin = BEGIN.format(systemd=SYSTEMD, unit=unit)
        for group in self._groups:
            group.mkdir(exist_ok=True)
        manager = Program(
            "unshare", "--mount", "sh", "-c", begin, "sh", *groups, cwd=self._home, env=self._environ
        )
        try:
            yield manager
        finally:
            manager.kill()
            eventually(self._is_cleared)

    def systemctl(self, *arguments: str, code: int | None = 0) -> str:
        """Ask it for something, expect an exit code (None: any); gives what was printed."""
        done = subprocess.run(
            ["systemctl", "--user", "--no-pager", *arguments],
            env={**os.environ, **self._environ},
            capture_output=True,
            text=True,
            timeout=3 * DEADLINE,
            check=False,
        )
        assert code is None or done.returncode == code, (arguments, done)
        return done.stdout.strip()

    def started(self) -> set[int]:
        """Tell what runs that it has started."""
        return self._pids("app.slice/**/cgroup.procs")

    def _pids(self, pattern: str) -> set[int]:
        files = [file for group in self._groups for file in group.glob(pattern)]
        return {int(pid) for file in files for pid in file.read_text().split()}

    def _is_cleared(self) -> bool:
        """Kill what is left, and remove our cgroups in all hierarchies, from below."""
        for pid in self._pids("**/cgroup.procs"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for group in CGROUPS.glob(f"**/{self._group}"):
            for below in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                below.rmdir()
            group.rmdir()
        return True


def _hierarchies() -> list[Path]:
    """Tell where systemd looks for its place: version 2, or what stands in for it beside version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [CGROUPS / name for name in ("systemd", "unified") if (CGROUPS / name / "cgroup.procs").exists()]
