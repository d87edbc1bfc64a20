"""How things look on a screen and to a script: tables, colours, times, JSON."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, TextIO

import click
import msgspec

from bus.events import BY_TYPE, Envelope, ProcExited

COLOURS = {
    "green": ("RUNNING", "UP"),
    "yellow": ("STARTING", "STOPPING", "BACKOFF", "WAITING", "UNKNOWN", "DEGRADED"),
    "blue": ("SLEEPING",),
    "red": ("EXITED", "FATAL", "STUCK", "INVALID", "DOWN", "MISCONFIGURED"),
}
STATE_COLOUR = {state: colour for colour, states in COLOURS.items() for state in states}

EVENT_COLOUR = {
    "PROC_READY": "green",
    "PROC_RECOVERED": "green",
    "DB_UP": "green",
    "BRAKE_OFF": "green",
    "SERVICE_UP": "green",
    "JOURNAL_RESTORED": "green",
    "PROC_BACKOFF": "yellow",
    "PROC_WAITING": "yellow",
    "PROC_MOVED": "yellow",
    "PROC_SLEEPING": "blue",
    "PROC_SLOW": "yellow",
    "PROC_FAILING": "yellow",
    "PROC_OVERSIZE": "yellow",
    "DB_DEGRADED": "yellow",
    "SERVICE_DOWN": "yellow",
    "PROC_EXITED": "red",
    "PROC_FATAL": "red",
    "PROC_STUCK": "red",
    "BRAKE_ON": "red",
    "USER_INVALID": "red",
    "PACKAGE_INVALID": "red",
    "SETTINGS_INVALID": "red",
    "DB_DOWN": "red",
    "DB_MISCONFIGURED": "red",
    "JOURNAL_RESET": "red",
    "JOURNAL_DEGRADED": "red",
    "START_REQUESTED": "cyan",
    "STOP_REQUESTED": "cyan",
    "RESTART_REQUESTED": "cyan",
    "DB_RECHECK_REQUESTED": "cyan",
    "DB_DRAIN_REQUESTED": "cyan",
    "DB_UNDRAIN_REQUESTED": "cyan",
    "BRAKE_RELEASE_REQUESTED": "cyan",
}
TYPE_WIDTH = max(map(len, BY_TYPE))
SUBJECT_WIDTH = 16


def coloured(stream: TextIO) -> bool:
    """Tell whether colours are wanted: on a terminal, unless NO_COLOR (no-color.org) is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str | None, *, on: bool) -> str:
    if not on or not colour:
        return text
    return click.style(text, dim=True) if colour == "dim" else click.style(text, fg=colour)


def plain(text: str) -> str:
    """Make text harmless for a terminal: others wrote it, and it stays on its line."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def moment(at: float | None, now: float) -> str:
    """Show a wall-clock time: the time of day, with the date when that is not today's."""
    if at is None:
        return "-"
    local = time.localtime(at)
    today = local[:3] == time.localtime(now)[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", local)


def as_json(rows: Sequence[NamedTuple]) -> str:
    """Write rows for scripts: one array of objects, keys = the column names."""
    return msgspec.json.format(msgspec.json.encode([row._asdict() for row in rows]), indent=2).decode()


def table(columns: Sequence[str], rows: Sequence[NamedTuple], *, now: float, colours: bool) -> list[str]:
    """Lay rows out in columns as wide as their widest cell; numbers to the right."""
    cells = [[_cell(name, value, now) for name, value in row._asdict().items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    right = [any(type(row[i]) is int for row in rows) for i in range(len(columns))]

    def line(texts: Sequence[str]) -> list[str]:
        return [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(texts, widths, right, strict=True)
        ]

    lines = ["  ".join(line([name.upper() for name in columns])).rstrip()]
    for texts in cells:
        padded = zip(columns, texts, line(texts), strict=True)
        painted = [
            paint(pad, STATE_COLOUR.get(text) if name == "state" else None, on=colours)
            for name, text, pad in padded
        ]
        lines.append("  ".join(painted).rstrip())
    if colours:
        lines[0] = paint(lines[0], "dim", on=True)
    return lines


def _cell(name: str, value: object, now: float) -> str:
    if isinstance(value, float) and name == "since":
        return moment(value, now)
    if value is None or value == "":
        return "" if name == "reason" else "-"
    return plain(str(value))


def show(columns: Sequence[str], rows: Sequence[NamedTuple], *, json: bool) -> None:
    """Print a table, or its JSON."""
    if json:
        print(as_json(rows))
    else:
        print("\n".join(table(columns, rows, now=time.time(), colours=coloured(sys.stdout))))


def event_line(envelope: Envelope, words: str, *, colours: bool, dates: bool = False) -> str:
    """Show an event on one line: time, seq, type, subject, what matters, cause."""
    local = time.localtime(envelope.time)
    clock = time.strftime("%Y-%m-%d %H:%M:%S" if dates else "%H:%M:%S", local)
    millis = f".{int(envelope.time % 1 * 1000):03d}"
    parts = [
        paint(clock + millis, "dim", on=colours),
        paint(f"{envelope.seq:>6}", "dim", on=colours),
        paint(envelope.type.ljust(TYPE_WIDTH), _colour(envelope), on=colours),
        plain(envelope.subject).ljust(SUBJECT_WIDTH),
        plain(words),
    ]
    if envelope.cause:
        parts.append(paint(f"<- {envelope.cause}", "dim", on=colours))
    return "  ".join(part for part in parts if part).rstrip()


def _colour(envelope: Envelope) -> str | None:
    if isinstance(envelope.event, ProcExited) and envelope.event.expected:
        return None  # that one is no alarm
    return EVENT_COLOUR.get(envelope.type)


def event_json(envelope: Envelope) -> str:
    """Write an event as one line of JSON, the event itself under "event"."""
    fields: dict[str, Any] = msgspec.to_builtins(envelope)
    fields["event"].pop("type", None)
    return msgspec.json.encode(fields).decode()
