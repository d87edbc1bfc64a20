"""What tenants find in their environment, and what they do not."""

import resource
from pathlib import Path

import pytest

from bus.errors import FileError
from bus.events import PackageReleased
from bus.model import Limits, PackageSettings, TenantSettings, parse_size
from bus.sections import DatabaseSettings
from bus.settings import Settings
from services.reactor import environment
from services.reactor.actions import Spawn

SETTINGS = Settings(
    databases={
        "db1": DatabaseSettings(url="sqlite:////data/db1"),
        "db2": DatabaseSettings(url="mysql://u@h/s", password_env="PW2"),
    },
    file="/etc/tenantbus/tenantbus.toml",
)


def package(**settings: object) -> PackageReleased:
    return PackageReleased(
        release="hello-1",
        app="hello",
        version="1",
        path="/releases/hello/1",
        settings=PackageSettings(**settings),  # type: ignore[arg-type]  # one of several kinds
        stamp="s",
    )


def test_what_is_ours_stays_with_us() -> None:
    ours = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "TENANTBUS_PARENT", "PW2", "JOURNAL_STREAM"]
    environ = dict.fromkeys([*ours, "PATH", "LANG", "MY_LISTEN_FDS"], "x")
    assert environment.for_fork_server(SETTINGS, environ).keys() == {"PATH", "LANG", "MY_LISTEN_FDS"}


def test_a_tenants_own_words_come_last(short_dir: Path) -> None:
    (short_dir / "secrets.env").write_text("\n# a comment\nB=from secrets\nC= kept as it is \n")
    settings = TenantSettings(package="hello", env={"A": "1", "B": "2"})
    order = Spawn(tenant="acme", release="hello-1", database="db1", settings=settings, stamp="t")
    assert environment.for_tenant(SETTINGS, order, 8001, short_dir) == {
        "TENANT": "acme",
        "DATABASE_URL": "sqlite:////data/db1",
        "PORT": "8001",
        "A": "1",
        "B": "from secrets",
        "C": " kept as it is ",
    }


@pytest.mark.parametrize(("text", "line"), [("A=1\nsecret", 2), ("1A=secret", 1), ("A =secret", 1)])
def test_bad_secrets_name_the_line_and_not_its_content(short_dir: Path, text: str, line: int) -> None:
    (short_dir / "secrets.env").write_text(text)
    with pytest.raises(FileError, match=rf"secrets.env:{line}: is no KEY=VALUE") as caught:
        environment.read_secrets(short_dir / "secrets.env")
    assert "secret" not in str(caught.value).replace("secrets.env", "")


@pytest.mark.parametrize(
    ("size", "count"),
    [("512", 512), ("4K", 4096), ("256M", 256 << 20), ("2G", 2 << 30), ("1T", 1 << 40), (None, 0)],
)
def test_sizes(size: str | None, count: int) -> None:
    assert parse_size(size) == count


def test_what_no_cgroup_holds_is_a_resource_limit() -> None:
    limits = Limits(memory="1G", open_files=200, cpu_seconds=60, processes=9, cpu=0.5)
    always = [(resource.RLIMIT_NOFILE, 200), (resource.RLIMIT_CPU, 60)]
    memory, processes = (resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_NPROC, 9)
    assert environment.resource_limits(limits, ()) == [*always, memory, processes]
    assert environment.resource_limits(limits, {"memory"}) == [*always, processes]
    assert environment.resource_limits(limits, {"memory", "cpu", "pids"}) == always
    assert environment.resource_limits(Limits(), ()) == []


def test_a_command_is_filled_in_word_by_word() -> None:
    words = ("{python}", "{release}/run.py", "--port={port}", "{tenant}", "{other} {}")
    filled = environment.command(package(command=words, python="venv/bin/python"), "acme", 8001)
    assert filled == [
        "/releases/hello/1/venv/bin/python",
        "/releases/hello/1/run.py",
        "--port=8001",
        "acme",
        "{other} {}",
    ]
    assert environment.binds_itself(package(command=words))
    assert not environment.binds_itself(package(entry="a:b"))
    assert environment.command(package(entry="a:b"), "acme", 8001) == []
