"""Lays out what the demo runs on: tenantbus.toml, and three tenants below var/."""

import json
from pathlib import Path
from typing import NamedTuple

from examples.pair import SCHEMA, USER

PACKAGES = Path(__file__).parent.resolve()
"""Holds invoicing/VERSION/package.toml."""

MARK = "# Written by `make run-all` at each start"

SETTINGS = (
    MARK
    + """: change examples/prepare.py instead,
# or copy this file elsewhere and use it with `bus -c FILE`. docs/settings.md explains every key.

[paths]
tenants = "var/tenants"
packages = {packages}
state = "var"

[tenants]
port_range = [{first}, {last}]
"""
)

MYSQL = """
[databases.{name}]
url = "mysql://{user}@127.0.0.1:{port}/{schema}"
password_file = "var/mariadb/password"
"""

SQLITE = """
[databases.db1]
url = "sqlite:///var/invoicing.db"
"""

TENANTS = {"acme": "paid", "globex": "free", "initech": "free"}

TENANT = """# Change something and save: only this tenant is restarted. docs/settings.md explains every key.
package = "invoicing"
plan = "{plan}"      # "paid" tenants are started and moved first
"""


class Ports(NamedTuple):
    tenants: range
    databases: tuple[int, int]


DEFAULT_PORTS = Ports(range(8101, 8200), (33061, 33062))


class ForeignFileError(Exception):
    """There is a tenantbus.toml that the demo did not write."""


def write_settings(root: Path, ports: Ports, *, mariadb: bool) -> Path:
    """Write tenantbus.toml, unless it says the same already; raises ForeignFileError."""
    file = root / "tenantbus.toml"
    text = SETTINGS.format(
        packages=json.dumps(_relative(PACKAGES, root)), first=ports.tenants[0], last=ports.tenants[-1]
    )
    if mariadb:
        for name, port in zip(("db1", "db2"), ports.databases, strict=True):
            text += MYSQL.format(name=name, user=USER, port=port, schema=SCHEMA)
    else:
        text += SQLITE
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    if old and not old.startswith(MARK):
        raise ForeignFileError(f"{file} was not written by the demo, so it is left alone; move it away first")
    if old != text:
        file.write_text(text, encoding="utf-8")
    return file


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def write_tenants(directory: Path) -> None:
    """Make the demo's tenants, at the first start only: what a person did to them later stays."""
    if directory.exists():
        return
    new = directory.with_name("tenants.new")
    for name, plan in TENANTS.items():
        (new / name).mkdir(parents=True, exist_ok=True)
        (new / name / "tenant.toml").write_text(TENANT.format(plan=plan), encoding="utf-8")
    new.rename(directory)
