"""The wheel, as it is installed elsewhere; and what the tree must be like to be packaged and tested."""

import json
import signal
import subprocess
import sys
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection
from importlib.metadata import packages_distributions, version
from pathlib import Path
from zipfile import ZipFile

import pytest

from bus import __version__
from tests.harness import DEADLINE, Program, eventually

ROOT = Path(__file__).parents[2]
OURS = ("bus", "cli", "services")
LINES_MAX = 400

pytestmark = pytest.mark.timeout(240)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program to its end; gives what it printed, and fails with that when it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", directory, cwd=ROOT)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what it needs, and nothing of this tree."""
    directory = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", directory / "venv", cwd=directory)
    python = directory / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel, cwd=directory)
    return python.parent


def sources() -> set[str]:
    return {
        str(file.relative_to(ROOT))
        for name in OURS
        for file in (ROOT / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_wheel_holds_our_packages_whole_and_nothing_else(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == sources()


def test_it_runs_from_anywhere(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "bus", "--version", cwd=tmp_path) == f"tenantbus {version('tenantbus')}"
    where = "import bus, cli, services; print(bus.__file__, cli.__file__, services.__file__)"
    for file in run(installed / "python", "-c", where, cwd=tmp_path).split():
        assert Path(file).is_relative_to(installed.parent)


@pytest.mark.parametrize(
    "module", ["bus", "services.pathwatch", "services.dbwatch", "services.dispatcher", "services.reactor"]
)
def test_every_service_is_there(installed: Path, tmp_path: Path, module: str) -> None:
    assert "--config" in run(installed / "python", "-P", "-m", module, "--help", cwd=tmp_path)


def test_a_starting_point_works_as_it_is(installed: Path, short_dir: Path) -> None:
    """From nothing but the wheel: `bus init`, `bus up`, one more tenant by a directory, Ctrl-C."""
    shop = short_dir / "shop"
    run(installed / "bus", "init", "shop", cwd=short_dir)
    with Program(str(installed / "bus"), "up", cwd=shop, log=short_dir / "log") as up:
        tenants = shop / "tenants"
        (first,) = (file.parent.name for file in tenants.glob("*/tenant.toml"))
        assert eventually(lambda: answers(tenants / first))
        (tenants / "second").mkdir()
        (tenants / "second" / "tenant.toml").write_text('package = "hello"\n')
        assert eventually(lambda: answers(tenants / "second"))
        rows = json.loads(run(installed / "bus", "ps", "--json", cwd=shop))
        assert {row["tenant"]: row["state"] for row in rows} == {first: "RUNNING", "second": "RUNNING"}
        up.signal(signal.SIGINT)
        assert up.process.wait(DEADLINE) == 0


def answers(tenant: Path) -> bool:
    """Tell whether a tenant's page and its health answer on its port."""
    port = int((tenant / "run" / "port").read_text())
    return {get(port, "/"), get(port, "/healthz")} == {HTTPStatus.OK}


def get(port: int, path: str) -> int:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def test_our_names_are_ours_alone(installed: Path, tmp_path: Path) -> None:
    """Another distribution with a package named `services` would silently overwrite ours."""
    ask = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    owners: dict[str, list[str]] = json.loads(run(installed / "python", "-c", ask, cwd=tmp_path))
    assert {name: owners.get(name) for name in OURS} == {name: ["tenantbus"] for name in OURS}
    for name in OURS:  # and here, where an editable installation has no list of its own
        assert set(packages_distributions().get(name) or ["tenantbus"]) == {"tenantbus"}


IMPORT_ALL = """
import importlib, pkgutil, sys
for top in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(top).__path__, top + "."):
        if not module.name.endswith("__main__"):
            print(importlib.import_module(module.name).__name__)
"""


def test_everything_it_needs_is_declared(installed: Path, tmp_path: Path) -> None:
    imported = run(installed / "python", "-c", IMPORT_ALL, *OURS, cwd=tmp_path).split()
    assert {"bus.broker", "services.reactor.decide", "cli.main"} <= set(imported)
    run(installed / "python", "-m", "pip", "check", cwd=tmp_path)


def test_versions_agree() -> None:
    assert version("tenantbus") == __version__
    assert f"## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_every_requirement_is_pinned_once() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.partition("==")[0].lower() for line in lines if not line.startswith("#")]
    assert len(pins) == len(set(pins))
    assert all("==" in line and "/" not in line for line in lines if not line.startswith("#"))


def test_every_directory_of_tests_is_a_package() -> None:
    """One that is not would hide ours: tests/unit/bus would be imported as `bus`."""
    for test in (ROOT / "tests").rglob("test_*.py"):
        for directory in test.relative_to(ROOT).parents[:-1]:
            assert (ROOT / directory / "__init__.py").exists(), directory


@pytest.mark.parametrize("directory", [*OURS, "docs", "examples"])
def test_no_file_is_too_long_to_read(directory: str) -> None:
    for file in (ROOT / directory).rglob("*.py"):
        assert len(file.read_text().splitlines()) <= LINES_MAX, file
