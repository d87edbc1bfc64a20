"""What a process printed before it failed: the reason, more often than not."""

from collections.abc import Sequence
from pathlib import Path

from bus.events import Envelope, ProcBackoff, ProcExited, ProcFatal, ProcStarted
from bus.log_files import LIVE
from bus.log_reader import Log
from cli import logs
from cli.render import plain

LINES = 8
"""Of what it printed that are shown: what counts comes last."""

HEARD_LATE = 1.0
"""Seconds by which the event of a start may be later than the start."""

WIDTH = 200
"""Characters of such a line that are shown."""


def excerpt(tenant: str, causes: Sequence[Envelope], directory: Path) -> list[str]:
    """Give the end of a log if these events, oldest first, end with a process that failed.

    Who never had a process did not print anything: the reason of the failure tells all that there is.
    """
    began = _began(causes)
    if began is None:
        return []
    try:
        written = (directory / LIVE).stat().st_mtime
        _, lines = logs.last(Log(directory), 0, bool, LINES, follow=False)
        found = list(lines)
    except OSError:  # whoever may not look at it
        return [f"What it said last is in {directory}/."]
    if written < began - HEARD_LATE or not found:
        return [f"It said nothing. What came before: `bus logs {tenant}`"]
    said = (plain(line.decode(errors="replace")) for line in found)
    return [
        f"What it said last; more of it: `bus logs {tenant}`",
        *(f"    {line[:WIDTH]}{'...' if len(line) > WIDTH else ''}" for line in said),
    ]


def _began(causes: Sequence[Envelope]) -> float | None:
    """Tell when the process began whose end was the failure; None if there was none."""
    match [envelope.event for envelope in causes[-2:]]:
        case [ProcExited() as ended, ProcBackoff() | ProcFatal()]:
            pass
        case _:
            return None
    for envelope in reversed(causes):
        if isinstance(envelope.event, ProcStarted) and envelope.event.pid == ended.pid:
            return envelope.time
    return causes[-2].time
