"""Shows what was found out about a process that was called stuck."""

from itertools import islice, takewhile
from pathlib import Path

from bus import regular
from bus.errors import FileError
from cli.render import plain

STACK = "--- Stack of every thread"
LINES = 12
"""Of the stack that are shown: the place where it stands comes first."""


def excerpt(file: Path) -> list[str]:
    """Name a file of evidence, and give the beginning of the stack in it."""
    try:
        lines = regular.read_text(file).splitlines()
    except FileError as error:
        return [f"Evidence: {file} ({error.reason})"]
    after = lines[lines.index(STACK) + 1 :] if STACK in lines else []
    stack = islice(takewhile(lambda line: not line.startswith("---"), after), LINES)
    shown = [f"    {plain(line)}" for line in stack if line]
    return [f"Evidence: {file}", *(["  Stack of every thread:", *shown] if shown else [])]
