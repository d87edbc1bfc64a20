"""Whose rights each tenant runs with, when tenantbus runs as root."""

import grp
import os
import pwd
from hashlib import blake2s
from pathlib import Path
from typing import NamedTuple

from bus.settings import Settings

UID_FILE = "uid"


class User(NamedTuple):
    name: str
    """Name of the account, the number where there is none."""
    uid: int
    gid: int
    alone: bool
    """True when no other tenant runs as this user."""


class UserError(Exception):
    """A tenant cannot be started as the user that the settings name; says which key, and why."""


class Users:
    """Knows the number that each tenant has got from tenants.uid_range, kept in its `run/uid`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._numbers: dict[str, int] = {}

    def read_claims(self) -> None:
        """Learn the numbers that tenants have: of two that claim the same, the older file's keeps it."""
        if not self._settings.tenants.uid_range:
            return
        files = [
            (file.stat().st_ctime_ns, file) for file in self._settings.tenants_dir.glob(f"*/run/{UID_FILE}")
        ]
        owners: dict[int, str] = {}
        for _, file in sorted(files):
            owners.setdefault(_read(file), file.parent.parent.name)
        self._numbers = {tenant: number for number, tenant in owners.items() if number}

    def of(self, tenant: str, own: str | None) -> User | None:
        """Tell whom a tenant shall run as; None is whoever we are. Raises UserError.

        `own` is what its tenant.toml says. Its directory `run` must be there.
        """
        defaults = self._settings.tenants
        if own:
            return _named(own, "user")
        if defaults.user:
            return _named(defaults.user, "tenants.user")
        if not defaults.uid_range:
            return None
        if os.geteuid():
            raise UserError("tenants.uid_range: only a tenantbus that runs as root can give tenants users")
        number = self._number(tenant, *defaults.uid_range)
        return User(str(number), number, number, alone=True)

    def number(self, tenant: str) -> int:
        """Tell the number that no other tenant has, 0 if there is none."""
        return self._numbers.get(tenant, 0) if self._settings.tenants.uid_range else 0

    def forget(self, tenant: str) -> None:
        """Let others have a tenant's number."""
        self._numbers.pop(tenant, None)
        self._file(tenant).unlink(missing_ok=True)

    def _number(self, tenant: str, first: int, last: int) -> int:
        kept = self._numbers.get(tenant, 0)
        if first <= kept <= last:
            return kept
        taken = {number for name, number in self._numbers.items() if name != tenant}
        number = choose(tenant, first, last, taken)
        if not number:
            raise UserError(f"tenants.uid_range: no number is free from {first} to {last}")
        draft = self._file(tenant).with_suffix(".new")
        draft.write_text(f"{number}\n", encoding="ascii")
        draft.replace(self._file(tenant))
        self._numbers[tenant] = number
        return number

    def _file(self, tenant: str) -> Path:
        return self._settings.tenants_dir / tenant / "run" / UID_FILE


def choose(tenant: str, first: int, last: int, taken: set[int]) -> int:
    """Choose a number that is free; a tenant that comes back gets the one that it had, if it still is.

    Gives 0 when all are taken.
    """
    size = last - first + 1
    begin = int.from_bytes(blake2s(tenant.encode(), digest_size=8).digest(), "big") % size
    for step in range(size):
        number = first + (begin + step) % size
        if number not in taken and not _is_somebody(number):
            return number
    return 0


def _is_somebody(number: int) -> bool:
    """Tell whether an account or a group has this number."""
    for look in (pwd.getpwuid, grp.getgrgid):
        try:
            look(number)
        except KeyError:
            continue
        return True
    return False


def _named(name: str, key: str) -> User | None:
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise UserError(f"{key}: there is no user {name!r} on this machine") from None
    if account.pw_uid == os.geteuid():
        return None
    if os.geteuid():
        raise UserError(f"{key}: only a tenantbus that runs as root can start a tenant as {name}")
    others = [
        other.pw_name
        for other in pwd.getpwall()
        if other.pw_gid == account.pw_gid and other.pw_uid != account.pw_uid
    ]
    if others:  # who could read what the group may
        raise UserError(f"{key}: the group of {name}, {account.pw_gid}, is also that of {others[0]}")
    return User(name, account.pw_uid, account.pw_gid, alone=False)


def _read(file: Path) -> int:
    """Read a number that we wrote; 0 when there is none."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 0
    return int(text) if text.isdigit() and len(text) <= len(str(2**31)) else 0
