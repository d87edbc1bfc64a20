"""One look at the place of a tenant, a release or the settings: what is there, valid or not, and why."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from bus import files, regular
from bus import settings as settings_file
from bus.errors import FileError
from bus.files import PACKAGE_FILE, SECRETS_FILE, TENANT_FILE
from bus.settings import Settings
from services.pathwatch import steady
from services.pathwatch.decide import (
    Gone,
    Invalid,
    Release,
    SettingsFile,
    Sight,
    Subject,
    Tenant,
    ValidRelease,
    ValidSettings,
    ValidTenant,
)
from services.pathwatch.steady import BusyError

NO_SECRETS = "none"

ABSENT = (errno.ENOENT, errno.ENOTDIR)
PLAIN = {
    errno.EACCES: "cannot be read: permission denied",
    errno.EPERM: "cannot be read: permission denied",
    errno.ELOOP: "is a symbolic link that leads to itself",
    errno.EISDIR: "is a directory",
    errno.EIO: "cannot be read: the disk reports an error",
}


class UnclearError(Exception):
    """Nothing can be told now; look again soon."""


def look(subject: Subject, settings: Settings) -> Sight:
    """Look at one subject; raises UnclearError while it is being written or we lack the means to look."""
    try:
        match subject:
            case Tenant(name=name):
                return _at(
                    settings.tenants_dir / name, TENANT_FILE, lambda file: _tenant(name, file, settings)
                )
            case Release():
                directory = settings.packages_dir / subject.app / subject.version
                return _at(directory, PACKAGE_FILE, lambda file: _release(subject, file, settings))
            case SettingsFile(name=name):
                return _settings(Path(name))
    except BusyError:
        raise UnclearError("is being written") from None


def _at(directory: Path, name: str, read: Callable[[Path], Sight]) -> Sight:
    """Look at a directory that holds a certain file; without that file it is none of ours."""
    place = directory
    try:
        if not stat.S_ISDIR(place.stat().st_mode):
            return Gone()
        place = directory / name
        return read(place)
    except FileError as error:
        return _invalid(error, stamp(b""))
    except OSError as error:
        if error.errno in ABSENT and not _dangling(place):
            return Gone()
        return _trouble(place, error)


def _tenant(name: str, file: Path, settings: Settings) -> Sight:
    content = steady.read(file)
    secrets = NO_SECRETS
    try:
        secrets = _secrets(file.with_name(SECRETS_FILE))
        found = files.tenant(name, file, content, settings)
    except FileError as error:
        return _invalid(error, stamp(content, secrets))
    path = str(file.parent)
    return ValidTenant(path=path, settings=found, stamp=stamp(content, secrets), secrets=secrets)


def _secrets(file: Path) -> str:
    """Stamp secrets.env by its time and size: the content is nobody's business before a start."""
    try:
        status = steady.status(file)
    except OSError as error:
        if error.errno in ABSENT and not _dangling(file):
            return NO_SECRETS
        if error.errno not in PLAIN and error.errno not in ABSENT:
            raise
        raise FileError(file, _reason(file, error)) from None
    files.check_secrets(file, status)
    return stamp(f"{status.st_mtime_ns} {status.st_size}".encode())


def _release(release: Release, file: Path, settings: Settings) -> Sight:
    content = steady.read(file)
    try:
        if file.parent.is_symlink() and not files.is_version(release.version):
            return Gone()  # an alias such as "current"
        found = files.package(release.app, release.version, file, content, settings)
    except FileError as error:
        return _invalid(error, stamp(content))
    return ValidRelease(path=str(file.parent), settings=found, stamp=stamp(content))


def _settings(file: Path) -> Sight:
    content = b""
    try:
        with steady.closed(file) as descriptor:
            content = os.read(descriptor, regular.LARGEST)
            found = settings_file.load(file)
    except FileError as error:
        return _invalid(error, stamp(content))
    except OSError as error:
        return _trouble(file, error)
    return ValidSettings(stamp=stamp(msgspec.json.encode(found, order="deterministic")))


def _trouble(file: Path, error: OSError) -> Invalid:
    """Judge what keeps us from looking: the person's files, or our own means."""
    if error.errno not in PLAIN and error.errno not in ABSENT:
        raise UnclearError(error.strerror) from error
    return _invalid(FileError(file, _reason(file, error)), stamp(b""))


def _reason(file: Path, error: OSError) -> str:
    number = error.errno or 0
    if number in ABSENT and _dangling(file):
        return f"is a symbolic link to {file.readlink()}, which does not exist"
    return PLAIN.get(number) or os.strerror(number)


def _dangling(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _invalid(error: FileError, stamp: str) -> Invalid:
    return Invalid(file=error.file, key=error.key, line=error.line, reason=error.reason, stamp=stamp)


def stamp(*parts: bytes | str) -> str:
    """Shorten what matters to a text that changes with it and tells nothing about it."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


Signature: TypeAlias = tuple[object, ...]


class Marks(NamedTuple):
    """What a place looks like from outside."""

    value: Signature
    """Compare it to learn whether a look is worth while."""
    linked: bool
    """Symbolic links are part of the place: what they lead to changes without notice."""
    changed: float
    """The newest change of a file, in seconds since the epoch."""


def signature(directory: Path, files: tuple[str, ...]) -> Marks:
    value: list[object] = []
    linked, changed = False, 0
    for path in (directory, *(directory / name for name in files)):
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                linked = True
                value.append(status.st_ino)
                status = path.stat()
        except OSError as error:
            value.append(error.errno)
            continue
        value.append((status.st_dev, status.st_ino, status.st_mode))
        if path is not directory:  # a directory's times and size change with what a tenant writes into it
            value.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            changed = max(changed, status.st_ctime_ns)
    return Marks(tuple(value), linked, changed / 1e9)
