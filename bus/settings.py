"""tenantbus.toml as typed settings; the docstrings here are the settings reference (docs/settings.md)."""

import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from msgspec import Meta, Struct, structs

from bus import regular, toml
from bus.errors import FileError
from bus.model import (
    USER_PATTERN,
    Duration,
    Limits,
    Plan,
    Seconds,
    Start,
    TenantSettings,
    check_idle_stop,
    seconds,
)

SOCKET_PATH_MAX = 107
"""Bytes that the path of a unix socket may have (unix(7): sun_path holds 108 with the final zero)."""

SEARCHED = (Path("tenantbus.toml"), Path("/etc/tenantbus/tenantbus.toml"))

Port = Annotated[int, Meta(ge=1, le=65535)]
Uid = Annotated[int, Meta(ge=1000, le=2**31 - 1)]
Positive = Annotated[float, Meta(gt=0)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tables of tenantbus.toml share: no key is ignored silently."""


class PathSettings(Section, frozen=True, kw_only=True):
    """Where things are; relative paths start at the directory of tenantbus.toml."""

    tenants: str = "tenants"
    """Holds a directory for each tenant."""
    packages: str = "packages"
    """Holds APP/VERSION/package.toml for each release."""
    state: str = "var"
    """Journal and logs; must be on a disk that stays."""
    run: str = ""
    """Sockets, locks and score pages; default: the directory "run" in `state`."""


class BusSettings(Section, frozen=True, kw_only=True):
    """The broker."""

    retention_days: Positive = 3.0
    """Events older than this are dropped from the journal; the newest of each subject stays."""
    retention_mb: Annotated[int, Meta(ge=1)] = 1024
    """Size in MiB above which the oldest events are dropped."""


class TenantDefaults(Section, frozen=True, kw_only=True):
    """Defaults for every tenant; a tenant.toml may say otherwise."""

    start: Start = "always"
    """"always" keeps tenants running, "on-demand" runs them while they are used, "manual" starts them on
    `bus start` only."""
    idle_stop: Duration = "15m"
    """How long a tenant on demand runs unused: "90s", "15m", "2h", or seconds."""
    port_range: tuple[Port, Port] | None = None
    """First and last loopback TCP port that tenants may get; without it they have unix sockets only."""
    start_timeout: Positive = 30.0
    """Seconds from start to READY, after which the start counts as failed."""
    stop_timeout: Positive = 10.0
    """Seconds between SIGTERM and SIGKILL."""
    drain_timeout: Positive = 60.0
    """Seconds that a replaced process has to finish its requests, while nothing waits for its end."""
    parallel_starts: Annotated[int, Meta(ge=1)] | None = None
    """Tenants that may be starting at the same time; default: four for each processor that may be used."""
    user: Annotated[str, Meta(pattern=USER_PATTERN)] | None = None
    """The account that tenants run as when tenantbus runs as root; they are not kept from one another."""
    uid_range: tuple[Uid, Uid] | None = None
    """First and last number of users that tenants may get when tenantbus runs as root: each tenant one of its
    own, for as long as it exists. No account is needed."""
    limits: Limits = Limits()
    """Resource limits."""

    def __post_init__(self) -> None:
        check_idle_stop(None, self.idle_stop)

    def start_of(self, tenant: TenantSettings) -> Start:
        """Tell when a tenant of these defaults runs."""
        return tenant.start or self.start

    def idle_stop_of(self, tenant: TenantSettings) -> float:
        """Tell the seconds after which it is stopped when nobody uses it, if it runs on demand."""
        return seconds(self.idle_stop if tenant.idle_stop is None else tenant.idle_stop)

    def stop_timeout_of(self, tenant: TenantSettings) -> float:
        """Tell the seconds that it has to end."""
        return self.stop_timeout if tenant.stop_timeout is None else tenant.stop_timeout

    def drain_timeout_of(self, tenant: TenantSettings) -> float:
        """Tell the seconds that one of its processes has to end when another one serves already."""
        return self.drain_timeout if tenant.drain_timeout is None else tenant.drain_timeout


class PlanSettings(Section, frozen=True, kw_only=True):
    """What tenants of one plan get instead of what [tenants] says; a tenant.toml may say otherwise."""

    start: Start | None = None
    """"always", "on-demand" or "manual"."""
    idle_stop: Duration | None = None
    """How long a tenant on demand runs unused."""
    stop_timeout: Seconds | None = None
    """Seconds between SIGTERM and SIGKILL."""
    drain_timeout: Seconds | None = None
    """Seconds that a replaced process has to finish its requests, while nothing waits for its end."""
    limits: Limits = Limits()
    """Resource limits; those that are not given here are those of [tenants]."""

    def __post_init__(self) -> None:
        check_idle_stop(self.start, self.idle_stop)


class Plans(Section, frozen=True, kw_only=True):
    """Defaults by plan."""

    paid: PlanSettings = PlanSettings()
    """Of tenants with `plan = "paid"`."""
    free: PlanSettings = PlanSettings()
    """Of all others."""


class DatabaseSettings(Section, frozen=True, kw_only=True):
    """One database; the table's name is the name that tenants use."""

    url: Annotated[str, Meta(pattern=r"^(mysql|sqlite)://")]
    """mysql://USER@HOST:PORT/SCHEMA, or sqlite:///PATH relative to the file (sqlite:////PATH: absolute)."""
    password_file: str = ""
    """File whose first line is the password, relative to tenantbus.toml."""
    password_env: str = ""
    """Environment variable that holds the password."""
    weight: Positive = 1.0
    """How many tenants it should have in comparison to the others: 2 for one that can bear twice as many."""
    canary: bool = True
    """Whether to see that writing works, by one row in the table `tenantbus_canary` of the schema, which is
    made when it is missing. Without the privileges for that, only reading is checked."""
    donor: Literal["up", "degraded", "down"] = "degraded"
    """What a Galera node counts as while it feeds another one that joins."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.password is not None:
            raise ValueError("url: holds a password; put it into `password_file` or `password_env`")
        try:
            _ = parts.port
        except ValueError:  # shown without the text: what stands there may be a password with a slash in it
            raise ValueError("url: its port is no number from 0 to 65535") from None
        if parts.scheme == "mysql" and not (parts.hostname and parts.path.strip("/")):
            raise ValueError(f"url: {self.url!r} lacks a host or a schema: mysql://USER@HOST:PORT/SCHEMA")
        if parts.scheme == "sqlite" and not parts.path.strip("/"):
            raise ValueError(f"url: {self.url!r} lacks a path: sqlite:///PATH")
        if self.password_file and self.password_env:
            raise ValueError("password_env: excludes `password_file`, which is given as well")


class CheckSettings(Section, frozen=True, kw_only=True):
    """How the health of tenants and databases is watched."""

    stuck_after: Positive = 5.0
    """Seconds that a tenant's event loop may be busy, or its process stopped, before it counts as stuck."""
    interval: Positive = 0.1
    """Seconds between two looks at all score pages."""
    http_every: Positive = 60.0
    """Seconds between two HTTP checks of a tenant without traffic."""
    http_timeout: Positive = 5.0
    """Seconds that an HTTP check may take."""
    slow_after: Positive = 1.0
    """Seconds that an event loop may be busy in one go, or an HTTP check take, before that counts as slow."""
    error_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Share of answers of 500 and above from which on a tenant is said to be failing."""
    brake_share: Annotated[float, Meta(gt=0, le=1)] = 0.3
    """Share of the tenants that may be in trouble at once before hardly any is ended any more."""
    brake_minimum: Annotated[int, Meta(ge=2)] = 5
    """Tenants in trouble below which that share does not count."""
    database_every: Positive = 0.5
    """Seconds between two checks of a database."""
    database_timeout: Positive = 1.0
    """Seconds that a check of a database may take; it is down at this deadline."""
    database_write_every: Positive = 2.0
    """Seconds between two writes of the canary; one that failed is tried again with each check."""
    database_lag: Positive = 10.0
    """Seconds that a database may be behind the one it follows before it is degraded."""
    database_headroom: Annotated[float, Meta(ge=0, le=1)] = 0.1
    """Share of a database's connections that should be free; it is degraded when there are fewer."""
    database_slow: Positive = 0.5
    """Seconds that a check may take before the database is degraded."""


class RestartSettings(Section, frozen=True, kw_only=True):
    """What happens after a crash: start at once, then with growing pauses, then FATAL."""

    backoff: Positive = 0.5
    """Seconds of the first pause; each further one is twice as long."""
    backoff_max: Positive = 60.0
    """Seconds of the longest pause."""
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    """Share of a pause that is left to chance."""
    stable_after: Positive = 30.0
    """Seconds of service after which earlier failures are forgotten."""
    fatal_after: Annotated[int, Meta(ge=1)] = 6
    """Failures within `window` that make a tenant FATAL."""
    window: Positive = 120.0
    """Seconds that a failure counts."""
    fatal_retry: Positive = 300.0
    """Seconds between two tries to start a FATAL tenant."""


class MoveSettings(Section, frozen=True, kw_only=True):
    """How tenants move from a database that fails, or that is drained, to another one."""

    rate: Positive = 50.0
    """Tenants a second that may come to a database from another one, or when it returns; paid ones first."""
    burst: Annotated[int, Meta(ge=1)] = 10
    """Tenants that may come at once after a while in which none came."""
    connections: Annotated[int, Meta(ge=1)] = 1
    """Connections that a tenant needs: nobody is sent where fewer are left."""
    catch_up: Annotated[float, Meta(ge=0)] = 2.0
    """Seconds that a tenant is held back until the other database has what was last seen of the lost one."""
    confirm_within: Positive = 3.0
    """Seconds that an application has to use another database once it is told; after that it is replaced."""
    failback_rate: Annotated[float, Meta(ge=0)] = 0.0
    """Tenants a second that go back to a database with less than its share, free ones first; 0 for none."""
    failback_after: Positive = 300.0
    """Seconds that a database must have been UP without a break before anybody goes back to it."""


class LogSettings(Section, frozen=True, kw_only=True):
    """How much of what tenants print is kept; the oldest goes first."""

    max_mb: Annotated[int, Meta(ge=1)] = 10
    """Size in MiB above which a tenant's `output.log` is rotated, in pieces of that size."""
    keep_mb: Annotated[int, Meta(ge=2)] = 100
    """MiB that a tenant's log may have in all, at least twice `max_mb`."""
    total_mb: Annotated[int, Meta(ge=1)] = 10_240
    """MiB that the logs of all tenants may have together; above that, whoever has most loses its oldest."""
    max_age_days: Positive = 14.0
    """What is older goes, to within a block of the disk (4 KiB)."""

    def __post_init__(self) -> None:
        if self.keep_mb < 2 * self.max_mb:
            raise ValueError(f"keep_mb: {self.keep_mb} is less than twice max_mb, which is {self.max_mb}")


class Settings(Section, frozen=True, kw_only=True, dict=True):  # dict: for cached_property
    """All of tenantbus.toml."""

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
    settings = structs.replace(toml.read(file, Settings), file=str(file))
    longest = settings.http_socket("x" * 16)
    if len(os.fsencode(longest)) > SOCKET_PATH_MAX:
        raise FileError(
            file,
            f"{longest} is longer than the {SOCKET_PATH_MAX} bytes that a unix socket's path may have;"
            " set paths.run to a shorter directory",
            key="paths.run",
        )
    return settings
