"""tenantbus.toml as a whole: found, read, checked, and what follows from it, such as where everything is."""

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urlsplit

from msgspec import Struct, structs

from bus import regular, toml
from bus.errors import FileError
from bus.model import Plan
from bus.sections import (
    BusSettings,
    CheckSettings,
    DatabaseSettings,
    LogSettings,
    MoveSettings,
    PathSettings,
    Plans,
    PlanSettings,
    RestartSettings,
    TenantDefaults,
)

SOCKET_PATH_MAX = 107
"""Bytes that the path of a unix socket may have (unix(7): sun_path holds 108 with the final zero)."""

SEARCHED = (Path("tenantbus.toml"), Path("/etc/tenantbus/tenantbus.toml"))


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """All of tenantbus.toml."""  # dict: for cached_property

    paths: PathSettings = PathSettings()
    bus: BusSettings = BusSettings()
    tenants: TenantDefaults = TenantDefaults()
    plans: Plans = Plans()
    databases: dict[str, DatabaseSettings] = {}
    checks: CheckSettings = CheckSettings()
    restart: RestartSettings = RestartSettings()
    moves: MoveSettings = MoveSettings()
    logs: LogSettings = LogSettings()
    file: str = ""
    """Where this was read from; set by `load`, never written in the file."""

    def __post_init__(self) -> None:
        for name in self.databases:
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
                raise ValueError(f"databases.{name}: a database is named by a-z, 0-9, - and _")
        uids = self.tenants.uid_range
        if uids and uids[0] > uids[1]:
            raise ValueError(f"tenants.uid_range: {uids[0]} is above {uids[1]}")
        if uids and self.tenants.user:
            raise ValueError("tenants.uid_range: excludes `user`, which is given as well")
        ports = self.tenants.port_range
        if ports and ports[0] > ports[1]:
            raise ValueError(f"tenants.port_range: {ports[0]} is above {ports[1]}")

    def defaults_of(self, plan: Plan) -> TenantDefaults:
        """Tell the defaults of a plan's tenants."""
        own: PlanSettings = getattr(self.plans, plan)
        said = {
            name: value
            for name in ("start", "idle_stop", "stop_timeout", "drain_timeout")
            if (value := getattr(own, name)) is not None
        }
        return structs.replace(self.tenants, **said, limits=own.limits.above(self.tenants.limits))

    @cached_property
    def root(self) -> Path:
        return Path(self.file).parent

    @cached_property
    def tenants_dir(self) -> Path:
        return self.root / self.paths.tenants

    @cached_property
    def packages_dir(self) -> Path:
        return self.root / self.paths.packages

    @cached_property
    def state_dir(self) -> Path:
        return self.root / self.paths.state

    @cached_property
    def run_dir(self) -> Path:
        return self.root / self.paths.run if self.paths.run else self.state_dir / "run"

    @property
    def journal(self) -> Path:
        return self.state_dir / "journal.db"

    @property
    def router_endpoint(self) -> str:
        """Where the broker takes publications and questions."""
        return f"ipc://{self.run_dir}/bus.router"

    @property
    def pub_endpoint(self) -> str:
        """Where the broker sends events from."""
        return f"ipc://{self.run_dir}/bus.pub"

    def http_socket(self, tenant: str) -> Path:
        """The unix socket of a tenant: one path for ever."""
        return self.run_dir / "http" / f"{tenant}.sock"

    def score_page(self, tenant: str) -> Path:
        return self.run_dir / "score" / tenant

    @property
    def dispatcher_socket(self) -> Path:
        """Where the dispatcher tells how things stand."""
        return self.run_dir / "dispatcher.sock"

    def fork_socket(self, release: str) -> Path:
        return self.run_dir / "fork" / f"{release}.sock"

    def prepare(self) -> None:
        """Make the directories that services share, for their own user only; harmless when repeated."""
        for directory in (self.state_dir, self.run_dir, self.state_dir / "log"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("http", "score", "fork"):
            (self.run_dir / name).mkdir(mode=0o700, exist_ok=True)

    def database_url(self, name: str, environ: Mapping[str, str] = os.environ) -> str:
        """Tell the URL that a tenant or dbwatch connects with, password included.

        Raises FileError when the password cannot be read. Never log or publish the result.
        """
        database = self.databases[name]
        parts = urlsplit(database.url)
        if parts.scheme == "sqlite":
            return f"sqlite:///{self.root / parts.path.removeprefix('/')}"
        password = self._password(name, database, environ)
        if not password:
            return database.url
        user, _, host = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()

    def _password(self, name: str, database: DatabaseSettings, environ: Mapping[str, str]) -> str:
        if database.password_env:
            try:
                return environ[database.password_env]
            except KeyError:
                raise FileError(
                    self.file,
                    f"the environment has no {database.password_env}",
                    key=f"databases.{name}.password_env",
                ) from None
        if database.password_file:
            try:
                return regular.read_text(self.root / database.password_file).partition("\n")[0]
            except FileError as error:
                key = f"databases.{name}.password_file"
                raise FileError(self.file, f"{error.file}: {error.reason}", key=key) from None
        return ""


class _Places(Struct):
    """The part of tenantbus.toml that tells where everything is; whatever else stands there."""

    paths: PathSettings = PathSettings()


def find(given: str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Find the settings file: as given, else TENANTBUS_CONFIG, else ./ and /etc/tenantbus/.

    Raises FileError when there is none.
    """
    named = given or environ.get("TENANTBUS_CONFIG")
    if named:
        return Path(named)
    for file in SEARCHED:
        if file.exists():
            return file
    raise FileError(
        SEARCHED[0],
        f"not found, nor {SEARCHED[1]}; `bus init DIR` makes a starting point, -c FILE names another file",
    )


def load(file: Path) -> Settings:
    """Read tenantbus.toml; raises FileError with file, key, line and reason."""
    file = file.absolute()
    return _checked(structs.replace(toml.read(file, Settings), file=str(file)))


def load_paths(file: Path) -> Settings:
    """Read where everything is out of a tenantbus.toml that may be wrong otherwise; raises FileError."""
    file = file.absolute()
    return _checked(Settings(paths=toml.read(file, _Places).paths, file=str(file)))


def _checked(settings: Settings) -> Settings:
    longest = settings.http_socket("x" * 16)
    if len(os.fsencode(longest)) > SOCKET_PATH_MAX:
        raise FileError(
            settings.file,
            f"{longest} is longer than the {SOCKET_PATH_MAX} bytes that a unix socket's path may have;"
            " set paths.run to a shorter directory",
            key="paths.run",
        )
    return settings
