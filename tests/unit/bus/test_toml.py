import os
from pathlib import Path

import pytest

from bus import regular, toml
from bus.errors import FileError
from bus.model import PackageSettings, TenantSettings
from bus.settings import Settings

FILE = Path("some.toml")


@pytest.mark.parametrize(
    ("text", "shape", "key", "line", "reason"),
    [
        ("package = ", TenantSettings, "", 1, "Invalid value"),
        ('"[...]" = 1', TenantSettings, "[...]", 1, "unknown key"),
        ("package = " + "[" * 9_999, TenantSettings, "", 0, "recursion"),
        ("package = " + "9" * 9_999, TenantSettings, "", 0, "4300 digits"),
        ('plan = "paid"\npackage "x"\n', TenantSettings, "", 2, "Expected '=' after a key"),
        ('plan = "paid"\n', TenantSettings, "package", 0, "is missing"),
        ('package = "x"\nplann = "paid"\n', TenantSettings, "plann", 2, "unknown key"),
        (
            'package = "x"\nplan = "gold"\n',
            TenantSettings,
            "plan",
            2,
            "Invalid enum value 'gold'; it may be 'free' or 'paid'",
        ),
        ('package = "x"\nstart = "no"\n', TenantSettings, "start", 2, "it may be 'always' or 'manual'"),
        (
            'package = "x"\nidle_stop = "15 minutes"\n',
            TenantSettings,
            "idle_stop",
            2,
            "'15 minutes' is no duration: give seconds, or text such as",
        ),
        ('package = "x"\nenv = {"A=B" = ""}\n', TenantSettings, "env", 2, "no environment can hold 'A=B'"),
        ('package = "x"\nenv = {A = "\\u0000"}\n', TenantSettings, "env", 2, "no environment can hold 'A'"),
        ('package = "x"\nidle_stop = 0\n', TenantSettings, "idle_stop", 2, "0.0 is no time at all"),
        ('package = "x"\nidle_stop = true\n', TenantSettings, "idle_stop", 2, "and is true or false"),
        (
            'package = "x"\nstart = "always"\nidle_stop = "2h"\n',
            TenantSettings,
            "idle_stop",
            3,
            'is for start = "on-demand", and start is "always"',
        ),
        ('[tenants]\nidle_stop = "soon"\n', Settings, "tenants.idle_stop", 2, "'soon' is no duration"),
        ('[plans.free]\nidle_stop = "0s"\n', Settings, "plans.free.idle_stop", 2, "is no time at all"),
        ("[plans.gold]\nstop_timeout = 3\n", Settings, "plans.gold", 1, "unknown key"),
        ('[tenants]\nstart = "no"\n', Settings, "tenants.start", 2, "it may be 'always' or 'manual'"),
        ("package = 7\n", TenantSettings, "package", 1, "should be text, and is a whole number"),
        (
            'package = "x"\n\n[limits]\nmemory = "lots"\n',
            TenantSettings,
            "limits.memory",
            4,
            "look like '512M' or '2G'",
        ),
        ('package = "x"\n[limits]\ncores = 3\n', TenantSettings, "limits.cores", 3, "unknown key"),
        ('package = "x"\nlimits = {cores = 3}\n', TenantSettings, "limits.cores", 2, "unknown key"),
        (
            'package = "x"\ndatabases = "db1"\n',
            TenantSettings,
            "databases",
            2,
            "should be a list, and is text",
        ),
        ('package = "x"\nenv = ["A=b"]\n', TenantSettings, "env", 2, "should be a table, and is a list"),
        ('package = "X"\n', TenantSettings, "package", 1, "does not look like 'invoicing' or"),
        ('entry = "app"\n', PackageSettings, "entry", 1, "does not look like 'module:callable'"),
        ('package = "x"\ndatabases = []\n', TenantSettings, "databases", 2, "is an empty list"),
        ('health = "/x"\n', PackageSettings, "", 0, "exactly one of `entry` and `command`"),
        ('entry = "a:b"\ncommand = ["x"]\n', PackageSettings, "", 0, "exactly one of `entry` and `command`"),
        ("[checks]\nstuck_after = 0\n", Settings, "checks.stuck_after", 2, "> 0"),
        ('[databases.Db]\nurl = "sqlite:///x"\n', Settings, "databases.Db", 1, "is named by a-z"),
        (
            '[databases.a]\nurl = "sqlite:///x"\n[databases.b]\nurl = 3\n',
            Settings,
            "databases.b.url",
            4,
            "should be text, and is a whole number",
        ),
        ("[chekcs]\n", Settings, "chekcs", 1, "unknown key"),
        (
            '[databases.db1]\nurl = "oracle://x"\n',
            Settings,
            "databases.db1.url",
            2,
            "like 'mysql://USER@HOST",
        ),
        (
            '[databases.db1]\nurl = "mysql://h"\n',
            Settings,
            "databases.db1.url",
            2,
            "lacks a host or a schema",
        ),
        ('[databases.db1]\nurl = "mysql://u:p@h/s"\n', Settings, "databases.db1.url", 2, "holds a password"),
        ("[tenants]\nport_range = [9000, 8000]\n", Settings, "tenants.port_range", 2, "9000 is above 8000"),
        ("[tenants]\nport_range = [0, 80000]\n", Settings, "tenants.port_range[0]", 2, ">= 1"),
    ],
)
def test_error_names_key_line_and_reason(
    text: str, shape: type[object], key: str, line: int, reason: str
) -> None:
    with pytest.raises(FileError) as caught:
        toml.parse(FILE, text, shape)
    assert (caught.value.key, caught.value.line) == (key, line)
    assert reason in caught.value.reason
    assert str(caught.value).startswith("some.toml")


def test_valid_text_becomes_its_shape() -> None:
    text = 'package = "invoicing==1.4.0"\nplan = "paid"\ndatabases = ["db1"]\n[env]\nCOLOUR = "red"\n'
    tenant = toml.parse(FILE, text, TenantSettings)
    assert (tenant.app, tenant.pinned, tenant.plan) == ("invoicing", "1.4.0", "paid")
    assert tenant.env == {"COLOUR": "red"}


def test_unreadable_file_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        toml.read(tmp_path / "none.toml", TenantSettings)
    (tmp_path / "latin.toml").write_bytes(b'package = "\xe9"')
    with pytest.raises(FileError, match="is not UTF-8"):
        toml.read(tmp_path / "latin.toml", TenantSettings)


def test_what_has_no_end_is_not_read_to_it(tmp_path: Path) -> None:
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.toml")
    for name in ("zero.toml", "pipe.toml"):
        with pytest.raises(FileError, match="is not a regular file"):
            toml.read(tmp_path / name, TenantSettings)
    (tmp_path / "large.toml").write_bytes(b"#" * (regular.LARGEST + 1))
    with pytest.raises(FileError, match="is larger than 262144 bytes"):
        toml.read(tmp_path / "large.toml", TenantSettings)
