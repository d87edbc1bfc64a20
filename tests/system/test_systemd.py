"""Our units under a real systemd, hardened as they are: what they promise to whoever installs them."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import usermanager
from tests.harness import eventually
from tests.system.deployment import Deployment
from tests.system.visiting import undisturbed
from tests.unable import unable
from tests.usermanager import UserManager

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
ISOLATION = UNITS.with_name("systemd-isolation") / "isolation.conf"
SERVICES = ("broker", "pathwatch", "dbwatch", "dispatcher", "reactor")
TARGET = "tenantbus.target"
UID = 200_000

OUT_OF_REACH = ("User=", "Group=", "ProtectHome=", "ProtectKernelTunables=", "ProtectKernelLogs=")
"""What a user's manager cannot do, or, of one user's home, would hide what is tested."""


class Managed(Deployment):
    """A deployment whose services are kept by systemd."""

    manager: UserManager

    def prepare(self) -> None:
        var, units = self.directory / "var", self.directory / "units"
        for directory in (var, units):
            directory.mkdir(mode=0o700, exist_ok=True)
        for file in UNITS.iterdir():
            (units / file.name).write_text(self._here(file.read_text()))
        for target in ("basic", "shutdown", "sysinit", "network"):
            (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        self.manager = UserManager(self.directory, units, var)

    def isolate(self) -> None:
        """Have tenants run as users of their own, as docs/operating.md says."""
        drop_ins = self.directory / "units" / "tenantbus-.service.d"
        drop_ins.mkdir()
        (drop_ins / ISOLATION.name).write_text(self._here(ISOLATION.read_text()))
        config = self.config.read_text()
        self.config.write_text(config.replace("[tenants]", f"[tenants]\nuid_range = [{UID}, {UID}]"))
        for directory in (self.directory.parent, self.directory, self.directory / "tenants"):
            directory.chmod(0o711)

    def _here(self, unit: str) -> str:
        """Put a unit here, with the same rights to all else; a hung service is found sooner."""
        for there, here in {
            "/opt/tenantbus/bin/python": sys.executable,
            "/etc/tenantbus/tenantbus.toml": str(self.config),
            "RuntimeDirectory=tenantbus tenantbus/http": "RuntimeDirectory=run run/http",
            "StateDirectory=tenantbus": "StateDirectory=var",
            "WatchdogSec=10": "WatchdogSec=2",
            "[Service]": f"[Service]\nReadWritePaths={self.directory}",
        }.items():
            unit = unit.replace(there, here)
        return "".join(line for line in unit.splitlines(keepends=True) if not line.startswith(OUT_OF_REACH))

    def pid_of(self, service: str) -> int:
        """Tell a service's process, 0 while it has none."""
        return int(self.manager.systemctl("show", "-P", "MainPID", f"tenantbus-{service}"))

    def state_of(self, service: str) -> str:
        return self.manager.systemctl("show", "-P", "ActiveState", f"tenantbus-{service}")

    def is_back(self, service: str, before: int) -> bool:
        return self.pid_of(service) not in {0, before} and self.states()[service] == "RUNNING"


@pytest.fixture(scope="module", autouse=True)
def _systemd() -> None:
    if reason := usermanager.lacking():
        unable(reason)


@pytest.fixture(scope="module")
def managed() -> Iterator[Managed]:
    with Managed.made() as deployment:
        deployment.prepare()
        with deployment.manager.running(TARGET):
            deployment.ready("first")
            yield deployment


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_restarted_and_killed_and_no_tenant_notices(managed: Managed, service: str) -> None:
    before = managed.ready("first")
    with undisturbed(managed, "first"):
        for way in (("restart",), ("kill", "--kill-whom=main", "--signal=KILL")):
            pid = managed.pid_of(service)
            managed.manager.systemctl(*way, f"tenantbus-{service}")
            eventually(lambda pid=pid: managed.is_back(service, pid))  # type: ignore[misc]
    assert managed.ready("first") == before


def test_a_service_that_hangs_is_replaced(managed: Managed) -> None:
    pid = managed.pid_of("dispatcher")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: managed.is_back("dispatcher", pid))


def test_the_target_stops_our_services_and_no_tenant(managed: Managed) -> None:
    before = managed.ready("first")
    with undisturbed(managed, "first"):
        managed.manager.systemctl("stop", TARGET)
        eventually(lambda: not any(map(managed.pid_of, SERVICES)))
        managed.manager.systemctl("start", TARGET)
        assert managed.ready("first") == before


def test_all_is_stopped_tenants_too_and_stays_so(managed: Managed) -> None:
    managed.manager.systemctl("kill", "--kill-whom=main", "--signal=INT", "tenantbus-reactor")
    eventually(lambda: managed.state_of("reactor") == "inactive")
    assert managed.ps()["first"]["state"] == "STOPPED"
    managed.manager.systemctl("stop", TARGET)
    eventually(lambda: not managed.manager.started())
    managed.manager.systemctl("start", TARGET)
    managed.ready("first")


def test_what_can_never_start_says_why_and_is_not_tried_again(managed: Managed) -> None:
    good = managed.config.read_text()
    managed.config.write_text(good + "\n[nonsense]\n")
    managed.manager.systemctl("restart", "tenantbus-dispatcher", code=1)
    assert managed.state_of("dispatcher") == "failed"
    shown = managed.manager.systemctl("show", "-P", "StatusText", "tenantbus-dispatcher")
    assert "nonsense" in shown
    managed.config.write_text(good)
    managed.manager.systemctl("start", TARGET)
    eventually(lambda: managed.states()["dispatcher"] == "RUNNING")


def test_the_drop_in_gives_tenants_users_of_their_own() -> None:
    with Managed.made() as deployment:
        deployment.prepare()
        deployment.isolate()
        with deployment.manager.running(TARGET):
            pids = deployment.ready("first")
            assert psutil.Process(pids["first"]).uids().effective == UID
            before = deployment.pid_of("reactor")
            deployment.manager.systemctl("restart", "tenantbus-reactor")
            eventually(lambda: deployment.is_back("reactor", before))
            assert deployment.ready("first") == pids
            os.kill(pids["first"], signal.SIGKILL)
            eventually(lambda: deployment.pids().get("first") not in {None, pids["first"]})
            deployment.ready("first")
