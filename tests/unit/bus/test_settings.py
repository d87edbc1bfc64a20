from pathlib import Path

import pytest

from bus import settings as settings_file
from bus.errors import FileError
from bus.model import Limits, TenantSettings, seconds
from bus.settings import Settings

MINIMAL = """
[databases.main]
url = "mysql://app@127.0.0.1:3306/invoices"
password_env = "SECRET"
[databases.small]
url = "sqlite:///data/small.db"
[databases.elsewhere]
url = "sqlite:////srv/x.db"
"""


def load(directory: Path, text: str = MINIMAL) -> Settings:
    file = directory / "tenantbus.toml"
    file.write_text(text)
    return settings_file.load(file)


def test_empty_file_means_all_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.tenants_dir == tmp_path / "tenants"
    assert settings.run_dir == tmp_path / "var" / "run"
    assert settings.checks.stuck_after == 5.0


def test_url_gets_the_password_from_the_environment_quoted(tmp_path: Path) -> None:
    settings = load(tmp_path)
    url = settings.database_url("main", {"SECRET": "a/b@c"})
    assert url == "mysql://app:a%2Fb%40c@127.0.0.1:3306/invoices"


def test_missing_password_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"databases\.main\.password_env: the environment has no SECRET"):
        load(tmp_path).database_url("main", {})


def test_sqlite_path_starts_at_the_settings_file(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.database_url("small") == f"sqlite:///{tmp_path}/data/small.db"
    assert settings.database_url("elsewhere") == "sqlite:////srv/x.db"


def test_password_file_is_read_each_time(tmp_path: Path) -> None:
    settings = load(tmp_path, '[databases.a]\nurl = "mysql://u@h/s"\npassword_file = "pw"\n')
    with pytest.raises(FileError, match=r"databases\.a\.password_file: .*pw: No such file"):
        settings.database_url("a")
    (tmp_path / "pw").write_text("first\nrest\n")
    assert settings.database_url("a") == "mysql://u:first@h/s"


@pytest.mark.parametrize(
    "key", ["checks.http_every", "checks.stuck_after", "tenants.limits.cpu", "moves.rate"]
)
def test_nothing_lasts_for_ever(tmp_path: Path, key: str) -> None:
    table, _, name = key.rpartition(".")
    with pytest.raises(FileError, match=rf"{key}.*should be a number <= "):
        load(tmp_path, f"[{table}]\n{name} = inf\n")


def test_too_long_a_directory_is_refused_before_any_socket_is_made(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    with pytest.raises(FileError, match=r"paths\.run: .* longer than the 107 bytes"):
        load(deep, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("uid_range = [3000, 2000]", "3000 is above 2000"),
        ('uid_range = [2000, 3000]\nuser = "shop"', "excludes `user`, which is given as well"),
        ("uid_range = [999, 3000]", "1000"),
        ("uid_range = [0, 3000]", "1000"),
    ],
)
def test_numbers_of_users_are_checked(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(FileError, match=rf"tenants\.uid_range.*{reason}"):
        load(tmp_path, f"[tenants]\n{text}\n")


def test_find_prefers_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_file.find("x.toml", {"TENANTBUS_CONFIG": "y.toml"}) == Path("x.toml")
    assert settings_file.find(None, {"TENANTBUS_CONFIG": "y.toml"}) == Path("y.toml")
    with pytest.raises(FileError, match="bus init"):
        settings_file.find(None, {})
    Path("tenantbus.toml").touch()
    assert settings_file.find(None, {}) == Path("tenantbus.toml")


@pytest.mark.parametrize(
    "url", ["mysql://u:topsecret@h", "mysql://u:topsecret/x@h/s", "mysql://u:topsecret@h:x/s"]
)
def test_no_error_repeats_a_password_in_a_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(FileError, match=r"databases\.a.*url: ") as caught:
        load(tmp_path, f'[databases.a]\nurl = "{url}"\n')
    assert "topsecret" not in str(caught.value)


def test_port_of_a_url_is_checked(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="its port is no number"):
        load(tmp_path, '[databases.a]\nurl = "mysql://u@h:66000/s"\n')


def test_password_file_that_is_no_text(tmp_path: Path) -> None:
    settings = load(tmp_path, '[databases.a]\nurl = "mysql://u@h/s"\npassword_file = "pw"\n')
    (tmp_path / "pw").write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match="pw: is not UTF-8"):
        settings.database_url("a")


def test_a_log_has_room_for_a_piece_and_its_copy(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"logs.*keep_mb: 30 is less than twice max_mb, which is 20"):
        load(tmp_path, "[logs]\nmax_mb = 20\nkeep_mb = 30\n")


@pytest.mark.parametrize(
    ("written", "length"),
    [(90, 90.0), (0.5, 0.5), ("90s", 90.0), ("15m", 900.0), ("1.5h", 5400.0), ("2 d", 172_800.0)],
)
def test_durations(written: float | str, length: float) -> None:
    assert seconds(written) == length


@pytest.mark.parametrize(
    "written", ["", "15", "m", "-1m", "1e3s", "15M", "15m ", "\uff11m", -1.0, float("nan")]
)
def test_no_durations(written: float | str) -> None:
    with pytest.raises(ValueError, match="is no"):
        seconds(written)


PLANS = """
[tenants]
start = "manual"
stop_timeout = 5
limits = {memory = "1G", open_files = 100}
[plans.free]
start = "on-demand"
idle_stop = "90s"
limits = {open_files = 50}
"""


def test_a_plan_comes_before_all_tenants_and_after_one(tmp_path: Path) -> None:
    settings = load(tmp_path, PLANS)
    free, paid = settings.defaults_of("free"), settings.defaults_of("paid")
    silent = TenantSettings(package="x")
    assert (free.start_of(silent), paid.start_of(silent)) == ("on-demand", "manual")
    assert (free.idle_stop_of(silent), paid.idle_stop_of(silent)) == (90.0, 900.0)
    assert (free.stop_timeout_of(silent), free.limits) == (5.0, Limits(memory="1G", open_files=50))
    own = TenantSettings(package="x", start="on-demand", idle_stop=3, stop_timeout=0.0)
    assert (paid.start_of(own), free.idle_stop_of(own), free.stop_timeout_of(own)) == ("on-demand", 3.0, 0.0)
