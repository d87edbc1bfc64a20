"""What tenant.toml and package.toml may say, as checked values; pure, so that events can carry them."""

import re
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, structs

TENANT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1123 section 2.1), lower case: it becomes a host name, a directory and a socket name."""

PACKAGE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

MOST = 1e9
"""What any number of seconds and the like may be at most, 30 years: nobody can count with TOML's `inf`."""
Seconds = Annotated[float, Meta(ge=0, le=MOST)]
Size = Annotated[str, Meta(pattern=r"^[0-9]+[KMGT]?$", examples=["512M", "2G"])]
"""A number of bytes with an optional binary suffix: "256M"."""

USER_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"
"""What the name of an account may look like: no number alone is taken for one."""

Plan = Literal["paid", "free"]
Start = Literal["always", "on-demand", "manual"]

Duration: TypeAlias = float | str
"""Seconds, or a number with its unit: "90s", "15m", "1.5h", "2d"."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def seconds(duration: Duration) -> float:
    """Tell how long a duration is; raises ValueError for one that is none, or no time at all."""
    length = duration
    if isinstance(duration, str):
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([smhd])", duration)
        if not found:
            raise ValueError(f'{duration!r} is no duration: give seconds, or text such as "90s", "15m", "2h"')
        length = float(found[1]) * _UNITS[found[2]]
    assert not isinstance(length, str)  # noqa: S101  # for the type checker
    if not 0 < length < float("inf"):
        raise ValueError(f"{duration!r} is no time at all, or for ever")
    return length


def check_idle_stop(start: Start | None, idle_stop: Duration | None) -> None:
    """Raise ValueError unless tenants that start so may be stopped when they are not used for that long."""
    if idle_stop is None:
        return
    if start not in {None, "on-demand"}:
        raise ValueError(f'idle_stop: is for start = "on-demand", and start is "{start}"')
    try:
        seconds(idle_stop)
    except ValueError as error:
        raise ValueError(f"idle_stop: {error}") from None


_SIZES = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def parse_size(size: str | None) -> int:
    """Tell the bytes of "256M"; 0 for none."""
    if not size:
        return 0
    digits = size.rstrip("KMGT")
    return int(digits) << _SIZES[size[len(digits) :]]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resource limits of one tenant process; what is not given is not limited."""

    memory: Size | None = None
    """Memory of all its processes, by its cgroup; where there is none, address space of each (RLIMIT_AS)."""
    memory_soft: Size | None = None
    """Anonymous memory of all its processes above which it is replaced without a gap; looked at once a minute
    (12 times `stuck_after`), and believed the second time."""
    cpu: Annotated[float, Meta(gt=0, le=4096)] | None = None
    """Cores that all its processes may use together, 0.5 for half of one; needs cgroups."""
    processes: Annotated[int, Meta(ge=1)] | None = None
    """Processes and threads at a time, by its cgroup; where there is none, of its user (RLIMIT_NPROC)."""
    open_files: Annotated[int, Meta(ge=16)] | None = None
    """RLIMIT_NOFILE."""
    cpu_seconds: Annotated[int, Meta(ge=1)] | None = None
    """CPU time after which the kernel ends the process, RLIMIT_CPU."""

    def above(self, default: "Limits") -> "Limits":
        """Give these limits, and where one is not given, the default's."""
        said = {name: value for name, value in structs.asdict(self).items() if value is not None}
        return structs.replace(default, **said)


class TenantSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tenant.toml."""

    package: Annotated[
        str,
        Meta(
            pattern=r"^[a-z][a-z0-9_-]{0,62}(==[A-Za-z0-9.+!_-]+)?$",
            examples=["invoicing", "invoicing==1.4.0"],
        ),
    ]
    """The application, "invoicing" for its newest release or "invoicing==1.4.0" to pin one."""
    plan: Plan = "free"
    """Paid tenants are started and moved first."""
    databases: tuple[str, ...] | None = None
    """Names of the databases that this tenant may use; all of them when not given."""
    start: Start | None = None
    """"always" keeps the tenant running, "on-demand" runs it while it is used: a visitor starts it; "manual"
    starts it on `bus start` only. Default: that of its plan, else [tenants] start."""
    idle_stop: Duration | None = None
    """How long a tenant on demand runs unused, such as "15m" or 90 (seconds): requests that are being
    answered and open websockets are use. Default: that of its plan, else [tenants] idle_stop."""
    stop_timeout: Seconds | None = None
    """Seconds between SIGTERM and SIGKILL. Default: that of its plan, else [tenants] stop_timeout."""
    drain_timeout: Seconds | None = None
    """Seconds that a replaced process has to finish its requests. Default: that of its plan, else [tenants]
    drain_timeout."""
    user: Annotated[str, Meta(pattern=USER_PATTERN, examples=["shop"])] | None = None
    """The account to run as; needs a tenantbus that runs as root. Default: [tenants] user, uid_range."""
    env: dict[str, str] = {}
    """Environment variables of the tenant's process; those of secrets.env come above them."""
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.databases is not None and not self.databases:
            raise ValueError("databases: is an empty list; leave it out to allow all")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"env: no environment can hold {name!r} with such a name or value (=, NUL)")
        check_idle_stop(self.start, self.idle_stop)

    @property
    def app(self) -> str:
        return self.package.partition("==")[0]

    @property
    def pinned(self) -> str | None:
        return self.package.partition("==")[2] or None


HEALTH = "/healthz"
"""What a `command` is asked for that says nothing else."""


class PackageSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One package.toml: how a release is started. Exactly one of `entry` and `command`."""

    entry: (
        Annotated[str, Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", examples=["module:callable"])] | None
    ) = None
    """"module:callable"; the callable takes the tenant and returns a tornado.web.Application."""
    command: tuple[str, ...] | None = None
    """Any other program; {python}, {port}, {tenant} and {release} are filled in."""
    health: Annotated[str, Meta(pattern=r"^/", examples=["/healthz"])] | None = None
    """The path that an HTTP check asks for. Default: /healthz of a `command`; an `entry` is asked only who it
    is."""
    python: str | None = None
    """The release's own interpreter, relative to the release; default: the one that runs tenantbus."""
    overlap: bool = True
    """Whether a new process may serve beside the old one that it replaces; false: the old one ends first.
    A command that contains {port} always comes alone."""

    def __post_init__(self) -> None:
        if (self.entry is None) == (self.command is None):
            raise ValueError("exactly one of `entry` and `command` must be given")
        if self.command is not None and not self.command:
            raise ValueError("command: is an empty list")

    @property
    def health_path(self) -> str | None:
        """Tell what the application itself is asked for."""
        return self.health or (None if self.entry else HEALTH)

    @property
    def binds_port(self) -> bool:
        """Tell whether a command asks for its port: then it binds it itself, and serves there alone."""
        return any("{port}" in word for word in self.command or ())

    @property
    def alone(self) -> bool:
        """Tell whether there may be no second process beside one of this release."""
        return not self.overlap or self.binds_port
