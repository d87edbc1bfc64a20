"""`bus check` on trees of files, each with one thing wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.check import look
from cli.findings import Finding
from cli.init import TEMPLATE


def put(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def endless(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


@pytest.fixture
def tree(short_dir: Path) -> Path:
    """What is right: one release, one tenant, one database."""
    put(short_dir / "tenantbus.toml", '[databases.local]\nurl = "sqlite:///var/app.db"\n')
    put(short_dir / "packages/shop/1.0/package.toml", 'entry = "shop.app:make_app"\n')
    put(short_dir / "packages/shop/1.0/shop/app.py", "def make_app(tenant): ...\n")
    put(short_dir / "tenants/acme/tenant.toml", 'package = "shop"\n')
    return short_dir


def findings(tree: Path) -> list[Finding]:
    return look(tree / "tenantbus.toml")[0]


def test_what_is_right_is_counted(tree: Path) -> None:
    assert look(tree / "tenantbus.toml") == ([], "no errors; good: 1 tenants, 1 releases, 1 databases")


def test_limits_that_cannot_be_had_are_a_note(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.cgroups.find", lambda: {"memory": tree})
    put(tree / "tenants/acme/tenant.toml", 'package = "shop"\n[limits]\nmemory = "1G"\n')
    assert look(tree / "tenantbus.toml") == ([], "no errors; good: 1 tenants, 1 releases, 1 databases")
    put(tree / "tenants/acme/tenant.toml", 'package = "shop"\n[limits]\ncpu = 0.5\n')
    found, summary = look(tree / "tenantbus.toml")
    assert found == []
    assert summary.endswith("\nnote: no cgroup for cpu is ours to use: `cpu` limits nothing")


@pytest.mark.parametrize(
    ("file", "text", "key", "line"),
    [
        ("tenants/acme/tenant.toml", 'package = "shop"\nuser = "no-such-user"\n', "user", 2),
        ("tenantbus.toml", '[tenants]\nuser = "no-such-user"\n', "tenants.user", 2),
    ],
)
def test_a_user_that_is_not_there(tree: Path, file: str, text: str, key: str, line: int) -> None:
    put(tree / file, text)
    (finding,) = findings(tree)
    assert finding == Finding(str(tree / file), line, key, "there is no user 'no-such-user' on this machine")


def test_what_init_makes_is_right() -> None:
    assert look(TEMPLATE / "tenantbus.toml")[0] == []


Spoil = Callable[[Path], object]
Place = tuple[str, int | None, str]

TENANT, PACKAGE, SETTINGS = "tenants/acme/tenant.toml", "packages/shop/1.0/package.toml", "tenantbus.toml"


@pytest.mark.parametrize(
    ("spoil", "place", "reason"),
    [
        (lambda t: put(t / SETTINGS, "[bus]\nx = 1"), (SETTINGS, 2, "bus.x"), "unknown key"),
        (lambda t: put(t / SETTINGS, "[bus"), (SETTINGS, 1, ""), "Expected"),
        (
            lambda t: put(t / SETTINGS, '[databases.a]\nurl = "mysql://u@h/s"\npassword_file = "none"'),
            (SETTINGS, None, "databases.a.password_file"),
            "No such file",
        ),
        (
            lambda t: put(t / SETTINGS, '[paths]\ntenants = "customers"'),
            (SETTINGS, 2, "paths.tenants"),
            "no directory",
        ),
        (lambda t: put(t / TENANT, 'package = "shop"\nplan = "x"'), (TENANT, 2, "plan"), "Invalid enum"),
        (lambda t: put(t / TENANT, ""), (TENANT, None, "package"), "is missing"),
        (lambda t: (t / TENANT).write_bytes(b"\xff"), (TENANT, None, ""), "UTF-8"),
        (lambda t: endless(t / TENANT), (TENANT, None, ""), "not a regular file"),
        (lambda t: put(t / TENANT, 'package = "ship"'), (TENANT, 1, "package"), "no release of ship"),
        (
            lambda t: put(t / TENANT, 'package = "shop==2.0"'),
            (TENANT, 1, "package"),
            "no release of shop==2.0",
        ),
        (
            lambda t: put(t / TENANT, 'package = "shop"\ndatabases = ["db9"]'),
            (TENANT, 2, "databases"),
            "db9 is not in",
        ),
        (
            lambda t: put(t / "tenants/Big_Co/tenant.toml", 'package = "shop"'),
            ("tenants/Big_Co/tenant.toml", None, ""),
            "no DNS label",
        ),
        (
            lambda t: put(t / "tenants/acme/secrets.env", "A=1").chmod(0o640),
            ("tenants/acme/secrets.env", None, ""),
            "open to other users",
        ),
        (lambda t: put(t / PACKAGE, ""), (PACKAGE, None, ""), "exactly one of"),
        (lambda t: put(t / PACKAGE, 'entry = "ship:make_app"'), (PACKAGE, 1, "entry"), "no module 'ship'"),
        (
            lambda t: put(t / PACKAGE, 'entry = "shop.web:make_app"'),
            (PACKAGE, 1, "entry"),
            "no module 'shop.web'",
        ),
        (lambda t: put(t / PACKAGE, 'entry = "shop.app:nothing"'), (PACKAGE, 1, "entry"), "has no nothing"),
        (
            lambda t: put(t / "packages/shop/1.0/shop/app.py", "def make_app(:"),
            (PACKAGE, 1, "entry"),
            "app.py:1: invalid syntax",
        ),
        (lambda t: put(t / PACKAGE, 'command = ["no-such-program"]'), (PACKAGE, 1, "command"), "no program"),
        (
            lambda t: put(t / PACKAGE, 'entry = "shop.app:make_app"\npython = "venv/bin/python"'),
            (PACKAGE, 2, "python"),
            "no program",
        ),
        (
            lambda t: put(t / "packages/shop/new/package.toml", 'entry = "shop:a"'),
            ("packages/shop/new/package.toml", None, ""),
            "no version",
        ),
    ],
)
def test_each_error_has_its_place(tree: Path, spoil: Spoil, place: Place, reason: str) -> None:
    spoil(tree)
    (finding,) = findings(tree)
    file, line, key = place
    assert (finding.file, finding.line, finding.key) == (str(tree / file), line, key)
    assert reason in finding.reason


def test_all_errors_are_told_at_once(tree: Path) -> None:
    put(tree / TENANT, "package = 3")
    put(tree / PACKAGE, 'entry = "x"')
    put(tree / "tenants/other/tenant.toml", 'package = "shop"')
    assert {Path(each.file).name for each in findings(tree)} == {"tenant.toml", "package.toml"}
    assert len(findings(tree)) == 2, "the tenant of a broken release is not to blame"


def test_more_tenants_than_ports(tree: Path) -> None:
    put(tree / "tenants/other/tenant.toml", 'package = "shop"')
    put(tree / SETTINGS, "[tenants]\nport_range = [8400, 8400]")
    (finding,) = findings(tree)
    assert (finding.line, finding.key) == (2, "tenants.port_range")
    assert "1 ports for 2 tenants" in finding.reason


@pytest.mark.parametrize(
    ("source", "function"),
    [
        ("from x import make_app", "make_app"),
        ("import x as make_app", "make_app"),
        ("make_app = 3", "make_app"),
        ("if True:\n    def make_app(): ...", "make_app"),
        ("class App: ...", "App"),
        ("from x import *", "anything"),
        ("def __getattr__(name): ...", "anything"),
    ],
)
def test_an_entry_may_be_made_in_many_ways(tree: Path, source: str, function: str) -> None:
    put(tree / "packages/shop/1.0/shop/app.py", source)
    put(tree / PACKAGE, f'entry = "shop.app:{function}"')
    assert findings(tree) == []


def test_what_is_installed_elsewhere_is_believed(tree: Path) -> None:
    put(tree / PACKAGE, 'entry = "tornado.web:Application"')
    assert findings(tree) == []
    put(tree / PACKAGE, 'command = ["{python}", "-m", "http.server"]')
    assert findings(tree) == []
    put(tree / PACKAGE, 'command = ["sh", "-c", "exit"]')
    assert findings(tree) == []


def test_what_is_not_finished_is_nobodys_business(tree: Path) -> None:
    put(tree / "tenants/.new/tenant.toml", "x")
    put(tree / "tenants/acme~/tenant.toml", "x")
    (tree / "tenants/empty").mkdir()
    put(tree / "tenants/README", "x")
    (tree / "packages/shop/current").symlink_to("1.0")
    assert findings(tree) == []


def test_a_port_that_two_tenants_claim_is_the_older_files(tree: Path) -> None:
    with (tree / "tenantbus.toml").open("a") as settings:
        settings.write("[tenants]\nport_range = [8400, 8409]\n")
    put(tree / "tenants/bolt/tenant.toml", 'package = "shop"\n')
    put(tree / "tenants/bolt/run/port", "8401\n")
    os.sync()
    file = put(tree / "tenants/acme/run/port", "8401\n")
    reason = "port 8401 is that of bolt, whose file is older"
    assert findings(tree) == [Finding(str(file), None, "", reason)]
    file.write_text("8399\n")
    (found,) = findings(tree)
    assert found.reason == "is no port of tenants.port_range, 8400 to 8409; acme will get a new one"
    file.write_text("8402\n")
    assert findings(tree) == []
