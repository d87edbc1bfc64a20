"""The tables of tenantbus.toml as typed values; their docstrings are what docs/settings.md says of them."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from bus.model import (
    MOST,
    USER_PATTERN,
    Duration,
    Limits,
    Seconds,
    Start,
    TenantSettings,
    check_idle_stop,
    seconds,
)

Port = Annotated[int, Meta(ge=1, le=65535)]
Uid = Annotated[int, Meta(ge=1000, le=2**31 - 1)]
Positive = Annotated[float, Meta(gt=0, le=MOST)]


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
    user: Annotated[str, Meta(pattern=USER_PATTERN, examples=["shop"])] | None = None
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

    url: Annotated[
        str,
        Meta(pattern=r"^(mysql|sqlite)://", examples=["mysql://USER@HOST:PORT/SCHEMA", "sqlite:///PATH"]),
    ]
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
    """Share of the tenants that serve that may be in trouble at once before hardly any is ended any more."""
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
    catch_up: Seconds = 2.0
    """Seconds that a tenant is held back until the other database has what was last seen of the lost one."""
    confirm_within: Positive = 3.0
    """Seconds that an application has to use another database once it is told; after that it is replaced."""
    failback_rate: Annotated[float, Meta(ge=0, le=MOST)] = 0.0
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
