"""systemd's own opinion of our units, where it is installed; and each service told as a unit would."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from tests.harness import DEADLINE, Program, eventually

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
ISOLATION = UNITS.with_name("systemd-isolation")

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze") and "CI" not in os.environ, reason="no systemd on this machine"
)


@needs_systemd
@pytest.mark.parametrize("drop_ins", [(), tuple(ISOLATION.iterdir())], ids=["plain", "isolated"])
def test_systemd_understands_every_line(tmp_path: Path, drop_ins: tuple[Path, ...]) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/tenantbus/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text)
    units = sorted(str(file) for file in tmp_path.iterdir())
    for file in drop_ins:
        for unit in UNITS.glob("*.service"):
            (tmp_path / f"{unit.name}.d").mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / f"{unit.name}.d")
    verdict = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in verdict.stderr.splitlines() if "tenantbus" in line]
    older = "Unknown key 'DelegateSubgroup'"  # than 254, which does without limits by cgroups then
    assert (verdict.returncode, [line for line in said if older not in line]) == (0, [])


@needs_systemd
@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.service")), ids=lambda unit: unit.stem)
def test_no_unit_is_exposed(unit: Path) -> None:
    verdict = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verdict.returncode == 0, verdict.stdout[-2000:]


def test_every_service_tells_systemd_that_it_is_ready_and_alive(short_dir: Path) -> None:
    """What Type=notify and WatchdogSec rest on: READY=1 once it works, WATCHDOG=1 from its own loop."""
    config = short_dir / "tenantbus.toml"
    config.write_text("")
    (short_dir / "tenants").mkdir()
    (short_dir / "packages").mkdir()
    broker = Listener(short_dir, "broker")
    with broker, Program(*command("bus"), cwd=short_dir, env=broker.env):
        broker.expect_ready_and_alive()
        for name in ("pathwatch", "dbwatch", "dispatcher", "reactor"):
            service = Listener(short_dir, name)
            with service, Program(*command(f"services.{name}"), cwd=short_dir, env=service.env):
                service.expect_ready_and_alive()


def command(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


class Listener:
    """The end of NOTIFY_SOCKET that systemd has."""

    def __init__(self, directory: Path, name: str) -> None:
        path = directory / f"notify-{name}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(DEADLINE)
        self.env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}

    def expect_ready_and_alive(self) -> None:
        assert eventually(lambda: self._socket.recv(4096) == b"READY=1")
        for _ in range(3):
            assert eventually(lambda: self._socket.recv(4096) == b"WATCHDOG=1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
