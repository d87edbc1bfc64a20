"""What nginx sees of tenants: empty files beside their sockets, since it can test for files alone.

`<tenant>.known`: it is ours. `<tenant>.down`: it is not meant to answer now. `complete`: all that are ours
have their files; without it nobody can be called unknown.
"""

import logging
from enum import Enum
from pathlib import Path

from bus.model import TENANT_NAME
from services.reactor.state import Fatal, Gone, Idle, Replacing, Running, Sleeping, Stopped, Tenant, Waiting

log = logging.getLogger(__name__)

COMPLETE = "complete"

PRIVATE = 0o600
"""Whoever may enter the directory sees that a file is there; nobody need open it."""


class Door(Enum):
    """How a tenant meets its visitors."""

    OPEN = "open"
    """They go in, and wait where nobody serves just now."""
    SHUT = "shut"
    """They are told at once to come back later."""
    KNOWN = "known"
    """As it was before."""
    NONE = "none"
    """They are told that there is no such tenant."""


def door(tenant: Tenant) -> Door | None:
    """Tell how a tenant's door should be; None for a name that never was a tenant's."""
    state = tenant.state
    match state:
        case Gone() | Idle() if tenant.wish.wrong:
            return Door.SHUT
        case Gone() | Idle():
            return Door.NONE if tenant.wish.seq else None
        case Stopped() | Fatal():
            return Door.SHUT
        case Waiting() if not (tenant.wish.seq or tenant.wish.wrong):
            return None
        case Waiting():
            return Door.KNOWN if state.quiet else Door.SHUT
        case Running() | Replacing() | Sleeping():
            return Door.OPEN
        case _:  # after FATAL nobody is let in before it serves: the next try is likely to fail as well
            return Door.KNOWN if tenant.record.probation else Door.OPEN


class Doors:
    """Keeps the files as they should be. A file that cannot be written is logged, and tried again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._shown: dict[str, Door] = {}

    def show(self, tenant: str, door: Door) -> bool:
        """Put a tenant's door so; tells whether it has been shut just now, or may have been."""
        before = self._shown.get(tenant)
        if door == before or (door is Door.KNOWN and before) or not TENANT_NAME.fullmatch(tenant):
            return False
        known, down = (self._directory / f"{tenant}.{what}" for what in ("known", "down"))
        try:
            if door is Door.SHUT:
                down.touch(mode=PRIVATE)
            elif door is not Door.KNOWN:
                down.unlink(missing_ok=True)
            if door is Door.NONE:
                known.unlink(missing_ok=True)
            else:
                known.touch(mode=PRIVATE)
        except OSError as error:
            log.warning("%s: %s: nginx does not learn of it", error.filename, error.strerror)
            return False
        self._shown[tenant] = door
        if door is Door.NONE:
            del self._shown[tenant]
        return door is Door.SHUT

    def complete(self) -> None:
        """Say that every tenant that there is has been shown."""
        try:
            (self._directory / COMPLETE).touch(mode=PRIVATE)
        except OSError as error:
            log.warning("%s: %s: nginx does not learn of it", error.filename, error.strerror)
