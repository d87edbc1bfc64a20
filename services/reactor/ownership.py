"""Gives a tenant's directories to whom they belong: the tenant its data, everything else to us."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bus.log_files import LIVE
from services.reactor.users import User

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def settle(directory: Path, user: User) -> None:
    """Let the tenant enter its directory, write below `data` alone, and let nobody else in at all.

    Raises OSError; harmless when repeated.
    """
    with _opened(directory) as top:  # which may be a link: of whoever owns the directory of all tenants
        _give(top, 0, user.gid, 0o750)
        with _opened("run", top) as run:
            _give(run, 0, 0, 0o700)
        with _opened("log", top) as logs:
            _give(logs, 0, user.gid, 0o750)
            with suppress(FileNotFoundError):
                os.chown(LIVE, user.uid, user.gid, dir_fd=logs, follow_symlinks=False)
        with _opened("data", top) as data:
            if os.fstat(data).st_uid != user.uid:
                _give_below(data, user)
            _give(data, user.uid, user.gid, 0o700)


@contextmanager
def _opened(place: Path | str, above: int | None = None) -> Iterator[int]:
    flags = DIRECTORY if above is None else DIRECTORY | os.O_NOFOLLOW  # a tenant's link, followed by root
    descriptor = os.open(place, flags, dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _give(descriptor: int, uid: int, gid: int, mode: int) -> None:
    facts = os.fstat(descriptor)
    if (facts.st_uid, facts.st_gid) != (uid, gid):
        os.fchown(descriptor, uid, gid)
    if stat.S_IMODE(facts.st_mode) != mode:
        os.fchmod(descriptor, mode)


def _give_below(data: int, user: User) -> None:
    """Hand over what a tenant wrote as somebody else; a file with a second name may not be its own."""
    for _, directories, files, place in os.fwalk(".", dir_fd=data, follow_symlinks=False):
        for name in (*directories, *files):
            facts = os.stat(name, dir_fd=place, follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode) or facts.st_nlink == 1:
                os.chown(name, user.uid, user.gid, dir_fd=place, follow_symlinks=False)
