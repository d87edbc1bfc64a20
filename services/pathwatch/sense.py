"""What of the disk is watched, and whom a change concerns: watch first, then look; in doubt look at all."""

import errno
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from bus.files import passing
from bus.settings import Settings
from services.pathwatch.decide import Release, SettingsFile, Subject, Tenant
from services.pathwatch.notify import Note
from services.pathwatch.spots import Root, Spot, roots
from services.pathwatch.watches import Watches

log = logging.getLogger(__name__)


class Tree:
    """Knows every directory of interest, and which subjects are to be looked at."""

    def __init__(self, settings: Settings) -> None:
        self.roots = roots(settings)
        self.due: dict[Spot, bool] = {}
        """Subjects to be looked at: because they changed (True), or only if they look different."""
        self.subjects: set[Spot] = set()
        """Complete spots that are, or were said to be, there."""
        self.overflown = False
        """Notes were lost: a scan is due."""
        self.watches: Watches[Spot] = Watches()
        self._linked: set[Spot] = set()
        """Spots with symbolic links, behind which things change without notice."""
        self._found: dict[Root, tuple[int, int]] = {}
        """Device and inode of each root that is there."""
        self._trouble: dict[Root, str] = {}

    def scan(self) -> None:
        """Visit everything."""
        self.overflown = False
        self.watches.hope()
        for root in self.roots:
            self.visit(Spot(root))
        self.watches.tell()

    def check(self) -> None:
        """Visit what may change without notice: roots that came, went or were replaced, symbolic links."""
        for root in self.roots:
            if not self.intact(root):
                self.visit(Spot(root))
        for spot in list(self._linked):
            self.visit(spot)

    def expect(self, subjects: Iterable[Subject]) -> None:
        """Have looked at what is believed to be there, even if it is not there any more."""
        present = {spot.subject.key for spot in self.subjects}
        for subject in subjects:
            if subject.key not in present:
                self._mark(self._spot(subject), noted=True)

    def _spot(self, subject: Subject) -> Spot:
        settings, packages, tenants = self.roots
        match subject:
            case Tenant(name=name):
                return Spot(tenants, (name,))
            case Release(app=app, version=version):
                return Spot(packages, (app, version))
            case SettingsFile():
                return Spot(settings)

    def link(self, spot: Spot, *, linked: bool) -> None:
        """Note whether symbolic links lead to a spot or its files."""
        if linked:
            self._linked.add(spot)
        else:
            self._linked.discard(spot)

    def intact(self, root: Root) -> bool:
        """Tell whether a root is the directory that it was when it was visited, and readable."""
        if root in self._trouble:
            return False
        try:
            return self._found.get(root) == _identity(root.path)
        except OSError:
            return False

    def take(self) -> None:
        """Take what the kernel tells of changes."""
        for note in self.watches.read():
            if note.overflow:
                self.overflown = True
            for spot in self.watches.spots(note):
                self._heed(spot, note)

    def _heed(self, spot: Spot, note: Note) -> None:
        if not note.name:
            self.visit(spot)
        elif not spot.complete:
            if not passing(note.name):
                self.visit(Spot(spot.root, (*spot.parts, note.name)), noted=True)
        elif note.name in spot.root.files:
            self.due[spot] = True

    def pick(self) -> dict[Spot, bool]:
        """Take what is to be looked at."""
        due, self.due = self.due, {}
        return due

    def visit(self, spot: Spot, *, noted: bool = False) -> None:
        """Watch a directory, then see what is in it."""
        self.watches.watch(spot)
        names = self._list(spot) if spot.parts else self._enter(spot.root)
        if names is None:
            return
        if spot.complete:
            self._mark(spot, noted=noted)
            return
        inside = [Spot(spot.root, (*spot.parts, name)) for name in names]
        for missing in self._missing(spot, set(inside)):
            self.visit(missing, noted=True)
        for child in inside:
            self.visit(child, noted=noted)

    def _mark(self, spot: Spot, *, noted: bool) -> None:
        self.subjects.add(spot)
        self.due[spot] = noted or self.due.get(spot, False)

    def forget(self, spot: Spot) -> None:
        """There is nothing at a spot, and nobody thinks so."""
        if not self.watches.watched(spot):
            self.subjects.discard(spot)

    def _missing(self, spot: Spot, inside: set[Spot]) -> list[Spot]:
        """Tell the subjects below a directory whose part of the way is no longer in it."""
        level = len(spot.parts)
        return [
            subject
            for subject in self.subjects
            if subject.root is spot.root
            and subject.parts[:level] == spot.parts
            and Spot(spot.root, subject.parts[: level + 1]) not in inside
        ]

    def _list(self, spot: Spot) -> list[str]:
        """Tell what is in a directory between a root and its subjects."""
        if spot.complete:
            return []
        self.link(spot, linked=spot.path.is_symlink())
        try:
            return _names(spot.path)
        except OSError:
            return []

    def _enter(self, root: Root) -> list[str] | None:
        """Tell what is in a root; None, and so in the log, when that cannot be told."""
        try:
            found, names = _identity(root.path), _names(root.path)
        except OSError as error:
            self._lost(root, error.strerror or str(error))
            return None
        before = self._found.get(root, found)
        if before[0] != found[0] and not names:
            self._lost(root, "is on another file system than before, and empty: is a disk not mounted?")
            return None
        self._found[root] = found
        if self._trouble.pop(root, None):
            log.warning("%s (%s) is there again", root.path, root.key)
        return names

    def _lost(self, root: Root, reason: str) -> None:
        if self._trouble.get(root) == reason:
            return
        self._trouble[root] = reason
        log.error(
            "%s (%s): %s; nothing counts as deleted, and it is looked for until it is there",
            root.path,
            root.key,
            reason,
        )


def _identity(path: Path) -> tuple[int, int]:
    """Tell which directory that is; raises OSError when it is not there, or what is in it cannot be seen."""
    status = path.stat()
    if not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return status.st_dev, status.st_ino


def _names(directory: Path) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries if not passing(entry.name))
