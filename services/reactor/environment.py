"""What tenants find in their environment; never ours, and never written to a log."""

import os
import re
import resource
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from bus import regular
from bus.errors import FileError
from bus.events import PackageReleased
from bus.model import Limits, parse_size
from bus.settings import Settings
from services.reactor.actions import Spawn, Switch

OURS = re.compile(
    r"TENANTBUS_.*|LISTEN_.*|WATCHDOG_.*|NOTIFY_SOCKET|MAINPID|FDSTORE|INVOCATION_ID|JOURNAL_STREAM"
)
"""Variables that are between us and who started us."""


def for_fork_server(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Leave out what is for us alone, passwords of databases above all."""
    passwords = {database.password_env for database in settings.databases.values()}
    return {
        name: value for name, value in environ.items() if name not in passwords and not OURS.fullmatch(name)
    }


def for_tenant(settings: Settings, order: Spawn | Switch, port: int, directory: Path) -> dict[str, str]:
    """Put together what is this tenant's own; raises FileError."""
    env = {"TENANT": order.tenant}
    if order.database:
        env["DATABASE_URL"] = settings.database_url(order.database)
    if port:
        env["PORT"] = str(port)
    return {**env, **order.settings.env, **read_secrets(directory / "secrets.env")}


def read_secrets(file: Path) -> dict[str, str]:
    """Read KEY=VALUE lines, none when there is no file; raises FileError, which never holds a value."""
    if not os.path.lexists(file):
        return {}
    text = regular.read_text(file)
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pair = re.fullmatch(r"\s*([A-Za-z_]\w*)=([^\0]*)", line)
        if not pair:
            raise FileError(file, "is no KEY=VALUE", line=number)
        found[pair[1]] = pair[2]
    return found


def resource_limits(limits: Limits, held: Collection[str]) -> list[tuple[int, int]]:
    """Tell limits as (resource, value) pairs, but for those that a cgroup holds, named by its controllers."""
    asked = [(resource.RLIMIT_NOFILE, limits.open_files), (resource.RLIMIT_CPU, limits.cpu_seconds)]
    if "memory" not in held:
        asked.append((resource.RLIMIT_AS, parse_size(limits.memory)))
    if "pids" not in held:
        asked.append((resource.RLIMIT_NPROC, limits.processes))  # which the kernel does not hold root to
    return [(number, value) for number, value in asked if value]


def interpreter(package: PackageReleased) -> str:
    """Tell the path of the release's interpreter."""
    own = package.settings.python
    return str(Path(package.path) / own) if own else sys.executable


def command(package: PackageReleased, tenant: str, port: int) -> list[str]:
    """Fill in a command's words: {release} is the release's directory; [] when it has an entry."""
    values = {
        "{python}": interpreter(package),
        "{port}": str(port),
        "{tenant}": tenant,
        "{release}": package.path,
    }
    words = package.settings.command or ()
    return [re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], word) for word in words]


def binds_itself(package: PackageReleased) -> bool:
    """Tell whether a command asks for its port: then it binds it itself, and we must not."""
    return package.settings.binds_port
