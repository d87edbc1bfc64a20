"""Looks through settings, packages and tenants for what is wrong; nothing is started or imported."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bus import cgroups, files, ports, regular, toml
from bus.errors import FileError
from bus.files import PACKAGE_FILE, SECRETS_FILE, TENANT_FILE
from bus.model import TenantSettings
from bus.settings import Settings
from cli.entry import check_start


class Finding(NamedTuple):
    file: str
    line: int | None
    key: str
    reason: str


class Inspection:
    """What was found; `releases` and `tenants` count what is right."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.findings: list[Finding] = []
        self.releases: set[str] = set()
        self.tenants = 0
        self.controllers = cgroups.wanted(settings.tenants.limits)
        """Those of cgroups that it takes to hold all tenants to their limits."""
        self._broken: set[str] = set()
        """Releases that are there, and not right: the tenants that want them are not to blame."""

    def look(self) -> None:
        self._databases()
        self._user()
        for app in _directories(self.settings.packages_dir):
            for release in _directories(app):
                self._release(release)
        found = [
            directory for directory in _directories(self.settings.tenants_dir) if _has(directory, TENANT_FILE)
        ]
        for directory in found:
            self._tenant(directory)
        self._ports([directory.name for directory in found])

    def note(self, error: FileError) -> None:
        self.findings.append(Finding(error.file, error.line or None, error.key, error.reason))

    def _databases(self) -> None:
        for name in self.settings.databases:
            try:
                self.settings.database_url(name)
            except FileError as error:
                self.note(error)
        for key in ("packages", "tenants"):
            directory = self.settings.root / getattr(self.settings.paths, key)
            if not directory.is_dir():
                self._settings_error(f"paths.{key}", f"{directory} is no directory")

    def _user(self) -> None:
        user, file = self.settings.tenants.user, Path(self.settings.file)
        if user:
            line = toml.locate(file.read_text(errors="replace"), "tenants.user")
            try:
                _check_user(user, file, line, "tenants.user")
            except FileError as error:
                self.note(error)

    def _ports(self, tenants: list[str]) -> None:
        if self.settings.tenants.port_range is None:
            return
        first, last = self.settings.tenants.port_range
        count = last - first + 1
        if count < len(tenants):
            self._settings_error("tenants.port_range", f"has {count} ports for {len(tenants)} tenants")
        owners = ports.owners(self.settings.tenants_dir)
        for tenant in tenants:
            file = ports.file(self.settings.tenants_dir, tenant)
            port = ports.read(file)
            owner = owners.get(port, tenant)
            if file.exists() and not first <= port <= last:
                reason = f"is no port of tenants.port_range, {first} to {last}; {tenant} will get a new one"
                self.note(FileError(file, reason))
            elif owner != tenant:
                self.note(FileError(file, f"port {port} is that of {owner}, whose file is older"))

    def _settings_error(self, key: str, reason: str) -> None:
        file = Path(self.settings.file)
        line = toml.locate(regular.read(file).decode(errors="replace"), key)
        self.note(FileError(file, reason, key=key, line=line))

    def _release(self, directory: Path) -> None:
        app, version = directory.parent.name, directory.name
        file = directory / PACKAGE_FILE
        if not _has(directory, PACKAGE_FILE) or (directory.is_symlink() and not files.is_version(version)):
            return
        try:
            content = _read(file)
            check_start(directory, file, content, files.package(app, version, file, content, self.settings))
        except FileError as error:
            self.note(error)
            self._broken.add(f"{app}-{version}")
        else:
            self.releases.add(f"{app}-{version}")

    def _tenant(self, directory: Path) -> None:
        file = directory / TENANT_FILE
        try:
            content = _read(file)
            tenant = files.tenant(directory.name, file, content, self.settings)
            self._check_package(tenant, file, content)
            _check_secrets(directory / SECRETS_FILE)
            if tenant.user:
                _check_user(tenant.user, file, toml.locate(content.decode(), "user"), "user")
        except FileError as error:
            self.note(error)
        else:
            self.tenants += 1
            self.controllers |= cgroups.wanted(
                tenant.limits.above(self.settings.defaults_of(tenant.plan).limits)
            )

    def _check_package(self, tenant: TenantSettings, file: Path, content: bytes) -> None:
        known = self.releases | self._broken
        wanted = f"{tenant.app}-{tenant.pinned}" if tenant.pinned else ""
        there = wanted in known if wanted else any(_app(name) == tenant.app for name in known)
        if not there:
            reason = f"{self.settings.packages_dir} has no release of {tenant.package}"
            raise FileError(file, reason, key="package", line=toml.locate(content.decode(), "package"))


def _check_user(name: str, file: Path, line: int, key: str) -> None:
    """See whether tenants can run as this user here; raises FileError."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise FileError(file, f"there is no user {name!r} on this machine", key=key, line=line) from None


def inspect(settings: Settings) -> Inspection:
    inspection = Inspection(settings)
    inspection.look()
    return inspection


def _app(release: str) -> str:
    return release.rpartition("-")[0]


def _directories(parent: Path) -> Iterator[Path]:
    try:
        entries = sorted(parent.iterdir())
    except OSError:  # said where it is configured, or nobody's business
        return
    yield from (entry for entry in entries if entry.is_dir() and not files.passing(entry.name))


def _has(directory: Path, name: str) -> bool:
    return os.path.lexists(directory / name)


def _read(file: Path) -> bytes:
    try:
        return regular.read(file)
    except OSError as error:
        raise FileError(file, error.strerror or str(error)) from None


def _check_secrets(file: Path) -> None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileError(file, error.strerror or str(error)) from None
    files.check_secrets(file, status)
