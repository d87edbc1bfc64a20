"""The systemd units say what all five services need."""

import configparser
from importlib.util import find_spec
from pathlib import Path

import pytest

from bus.daemon import EXIT_NEVER

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


class Unit(configparser.ConfigParser):
    """Keys keep their case; a key may come twice."""

    def __init__(self, file: Path) -> None:
        super().__init__(strict=False, interpolation=None)
        self.optionxform = str  # type: ignore[assignment, method-assign]  # as configparser's documentation does
        self.read(file)


def test_every_service_has_a_unit() -> None:
    services = ("broker", "dbwatch", "dispatcher", "pathwatch", "reactor")
    assert [unit.stem for unit in UNITS] == [f"tenantbus-{name}" for name in services]


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_a_unit_restarts_what_crashes_or_hangs_and_leaves_tenants_alone(file: Path) -> None:
    service = Unit(file)["Service"]
    assert service["Type"] == "notify"
    assert service["Restart"] == "always"
    never = [str(EXIT_NEVER), *(["SIGINT"] if file.stem == "tenantbus-reactor" else [])]
    assert service["RestartPreventExitStatus"].split() == never
    assert float(service["WatchdogSec"]) > 0
    assert service["KillMode"] == "process"
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert Unit(file)["Unit"]["StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.stem)
def test_a_unit_starts_a_module_that_exists(file: Path) -> None:
    words = Unit(file)["Service"]["ExecStart"].split()
    assert words[0].startswith("/")
    assert words[1] == "-m"
    assert find_spec(f"{words[2]}.__main__")
