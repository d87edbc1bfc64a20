"""The files of a tenant's log: for who keeps them small and for who reads them.

Every byte that a tenant ever wrote has a number, its offset, which never changes. `output.log` is the live
file: the tenant alone appends to it, and it stays the same file for ever. What was rotated out of it is in
pieces, `output.START-END.log`, named by the offsets that they cover: pieces and then the live file are the
whole log. A piece is the truth about its range: what the live file has of that range counts no more.

`output.state` says which offset the live file's first byte has, `output.index` what was written when.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import NamedTuple

LIVE, STATE, INDEX = "output.log", "output.state", "output.index"

DIGITS = 16
PIECE = re.compile(rf"output\.(\d{{{DIGITS}}})-(\d{{{DIGITS}}})\.log")

MARK = re.compile(rb"(\d{10}) (\d{16})\n")
MARK_SIZE = 28
"""Bytes of a line of the index: all are as long, so that the newest is found without the others."""


class Piece(NamedTuple):
    """A rotated part: the offsets it covers, the bytes it has, and when the newest of them was written.

    It has fewer bytes than it covers when too much came at once: then a line in it says so.
    """

    start: int
    end: int
    size: int
    time: float

    @property
    def name(self) -> str:
        return f"output.{self.start:0{DIGITS}}-{self.end:0{DIGITS}}.log"


class State(NamedTuple):
    """Where the live file stands: the offset of its first byte, and the inode for which that holds.

    While `collapsing` is not 0, so many bytes at its head (a hole) may have been cut off already, or not.
    """

    inode: int
    base: int
    collapsing: int = 0


class Mark(NamedTuple):
    """At this time (wall clock, seconds) so many bytes had been written in all."""

    time: float
    offset: int


def pieces(directory: Path) -> list[Piece]:
    """List the pieces, oldest first."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            name = PIECE.fullmatch(entry.name)
            if not name or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(FileNotFoundError):  # dropped since it was listed
                facts = entry.stat(follow_symlinks=False)
                found.append(Piece(int(name[1]), int(name[2]), facts.st_size, facts.st_mtime))
    return sorted(found)


def read_state(directory: Path) -> State | None:
    """Give what was noted, None when nothing was or when it cannot be read."""
    try:
        inode, base, collapsing = map(int, (directory / STATE).read_text(encoding="ascii").split())
    except (FileNotFoundError, ValueError):
        return None
    return State(inode, base, collapsing)


def write_state(directory: Path, state: State) -> None:
    replace(directory / STATE, "{} {} {}\n".format(*state).encode())


def replace(file: Path, content: bytes) -> None:
    """Replace a file in one step: who reads it sees all of the old or all of the new content."""
    draft = file.with_name(f".{file.name}")
    with os.fdopen(create(draft), "wb") as written:
        written.write(content)
    draft.replace(file)


def create(file: Path) -> int:
    """Open an empty file of this name; never what a link of this name leads to."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(file, flags, 0o600)


def first_data(descriptor: int, at: int = 0) -> int:
    """Give the place of the first byte from `at` on that is in no hole; the size if there is none."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError:  # ENXIO, lseek(2)
        return os.fstat(descriptor).st_size


def read_index(directory: Path) -> list[Mark]:
    try:
        content = (directory / INDEX).read_bytes()
    except FileNotFoundError:
        return []
    return [Mark(int(line[1]), int(line[2])) for line in MARK.finditer(content)]


def newest_mark(directory: Path) -> Mark:
    """Give the last line of the index, Mark(0, 0) when there is none."""
    try:
        with (directory / INDEX).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MARK_SIZE))
            line = MARK.fullmatch(file.read(MARK_SIZE))
    except FileNotFoundError:
        return Mark(0, 0)
    return Mark(int(line[1]), int(line[2])) if line else Mark(0, 0)


def write_marks(marks: Sequence[Mark]) -> bytes:
    return b"".join(b"%010d %016d\n" % (ceil(mark.time), mark.offset) for mark in marks)


class Seen(NamedTuple):
    """What a look at the live file tells: inode, size, and where its first byte outside of holes is."""

    inode: int
    size: int
    data: int


def locate(directory: Path, descriptor: int, end: int) -> State:
    """Find out where the open live file stands; `end` is where the newest piece ends, 0 if there is none."""
    written = max(end, newest_mark(directory).offset)  # before the size, which only grows
    while True:
        noted = read_state(directory)
        facts = os.fstat(descriptor)
        seen = Seen(facts.st_ino, facts.st_size, first_data(descriptor))
        if read_state(directory) == noted:  # all that was seen is of one moment
            return settle(noted, seen, end, written)


def settle(noted: State | None, seen: Seen, end: int, written: int) -> State:
    """Tell where the live file stands: pure.

    `end` is where the newest piece ends, `written` how much is known to have been written at least.
    """
    if noted is None:
        return State(seen.inode, max(0, end - seen.data, written - seen.size))
    if noted.inode != seen.inode:  # somebody removed the file, and the tenant was given a new one
        return State(seen.inode, written)
    base = noted.base
    if noted.collapsing and seen.data < noted.collapsing:
        base += noted.collapsing
    if base + seen.size < written:  # somebody emptied it
        base = written
    return State(seen.inode, base)
