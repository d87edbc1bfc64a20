"""What tenant.toml, secrets.env and package.toml must satisfy: for who watches them, and for `bus check`.

Nothing here reads a file; every error is a FileError with file, key, line and reason.
"""

import os
import stat
from pathlib import Path
from typing import TypeVar

from packaging.version import InvalidVersion, Version

from bus import toml
from bus.errors import FileError
from bus.model import PACKAGE_NAME, TENANT_NAME, PackageSettings, TenantSettings
from bus.settings import SOCKET_PATH_MAX, Settings

TENANT_FILE, SECRETS_FILE, PACKAGE_FILE = "tenant.toml", "secrets.env", "package.toml"

NOT_YET = ("~", ".tmp", ".swp", ".part")
"""Ends of names that programs give to what they have not finished."""

T = TypeVar("T")


def passing(name: str) -> bool:
    """Tell names that are nobody's business: hidden, or not finished yet."""
    return name.startswith(".") or name.endswith(NOT_YET)


def tenant(name: str, file: Path, content: bytes, settings: Settings) -> TenantSettings:
    """Understand the tenant.toml of a tenant; raises FileError."""
    _check_name(name, file, settings)
    found = _parse(file, content, TenantSettings)
    unknown = [each for each in found.databases or () if each not in settings.databases]
    if unknown:
        line = toml.locate(content.decode(), "databases")
        known = ", ".join(settings.databases) or "no database"
        reason = f"{', '.join(unknown)} is not in {settings.file}, which has {known}"
        raise FileError(file, reason, key="databases", line=line)
    return found


def _check_name(name: str, file: Path, settings: Settings) -> None:
    """See whether a directory's name can be a tenant's; raises FileError."""
    if not TENANT_NAME.fullmatch(name):
        raise FileError(
            file,
            f"the directory's name {name!r} is no DNS label (a-z, 0-9 and -, at most 63 characters);"
            " it becomes part of a host name",
        )
    socket = settings.http_socket(name)
    if len(os.fsencode(socket)) > SOCKET_PATH_MAX:
        raise FileError(
            file,
            f"the tenant's socket {socket} would be longer than the {SOCKET_PATH_MAX} bytes that a unix"
            " socket's path may have; choose a shorter name or a shorter paths.run",
        )


def check_secrets(file: Path, status: os.stat_result) -> None:
    """See whether secrets.env is kept from others; raises FileError."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise FileError(file, f"is open to other users (mode {mode:04o}); run: chmod 600 {file}")


def package(app: str, version: str, file: Path, content: bytes, settings: Settings) -> PackageSettings:
    """Understand the package.toml of a release; raises FileError."""
    _check_release(app, version, file, settings)
    return _parse(file, content, PackageSettings)


def _check_release(app: str, version: str, file: Path, settings: Settings) -> None:
    """See whether two directories' names can be an application's and a version's; raises FileError."""
    if not PACKAGE_NAME.fullmatch(app):
        raise FileError(file, f"the application's directory {app!r} is not named by a-z, 0-9, - and _")
    if not is_version(version):
        raise FileError(file, f"the release's directory {version!r} is no version, such as 1.4.0")
    socket = settings.fork_socket(f"{app}-{version}")
    if len(os.fsencode(socket)) > SOCKET_PATH_MAX:
        raise FileError(
            file,
            f"the release's socket {socket} would be longer than the {SOCKET_PATH_MAX} bytes that a unix"
            " socket's path may have; choose a shorter paths.run",
        )


def is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return text.strip() == text


def _parse(file: Path, content: bytes, shape: type[T]) -> T:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise FileError(file, f"is not UTF-8: {error.reason} at byte {error.start}") from None
    return toml.parse(file, text, shape)
