"""`bus logs`: what a tenant printed."""

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import click

from bus.log_reader import Lines, Log
from bus.model import TENANT_NAME
from bus.settings import Settings
from cli.helptext import examples
from cli.session import meant, reach_settings
from cli.span import Ago, parse

SHOWN = 100
"""Lines that are shown when nothing else is asked for."""

LOOK_BACK = 1 << 16
"""Bytes from the end in which the last lines are looked for first; then in four times as many, and so on."""

PAUSE = 0.2
"""Seconds between two looks for new lines."""

Wanted = Callable[[bytes], bool]


def read_ago(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    with suppress(ValueError):
        span = parse(text)
        if isinstance(span, Ago):
            return span.seconds
    raise click.BadParameter(f"{text!r} is no time ago such as 90s, 10m, 2h, 1d")


def read_pattern(_: click.Context, __: click.Parameter, text: str | None) -> Wanted:
    try:
        pattern = re.compile((text or "").encode())
    except re.error as error:
        raise click.BadParameter(f"{text!r} is no regular expression: {error}") from None
    return lambda line: pattern.search(line) is not None


@click.command(
    short_help="Show what a tenant printed.",
    epilog=examples(
        "bus logs acme",
        "bus logs acme -f",
        "bus logs acme --since 10m --grep 'ERROR|Traceback'",
        "bus logs acme --lines 100000 > acme.txt",
    ),
)
@click.argument("tenant")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it prints from now on.")
@click.option("--since", metavar="TIME", callback=read_ago, help="Begin so long ago: 90s, 10m, 2h, 1d.")
@click.option(
    "--grep", "wanted", metavar="RE", callback=read_pattern, help="Only lines in which this occurs."
)
@click.option(
    "--lines",
    metavar="N",
    type=click.IntRange(min=0),
    help=f"The last N of these lines; default: {SHOWN}, with --since all.",
)
def logs(tenant: str, *, follow: bool, since: float | None, wanted: Wanted, lines: int | None) -> None:
    """Show what TENANT printed, on stdout and stderr alike: rotated lines and new ones, each once.

    Needs no bus. Lines bear no time of ours: --since is exact to about 10 s, and rather shows too much.
    """
    log = Log(directory(reach_settings(), tenant))
    if not follow and not log.end():
        print(f"{tenant} has not printed anything yet", file=sys.stderr)
    begin = 0 if since is None else log.offset_at(time.time() - since)
    if lines is None and since is None:
        lines = SHOWN
    reading, found = last(log, begin, wanted, lines, follow=follow)
    show(found)
    if follow:
        go_on(reading, wanted)


def directory(settings: Settings, tenant: str) -> Path:
    """Give where a tenant's log is; raises Failure when there is no such tenant."""
    known = [each.name for each in settings.tenants_dir.iterdir() if TENANT_NAME.fullmatch(each.name)]
    return settings.tenants_dir / meant([tenant], known, "tenant")[0] / "log"


def last(
    log: Log, begin: int, wanted: Wanted, count: int | None, *, follow: bool
) -> tuple[Lines, Iterable[bytes]]:
    """Find the last lines from `begin` on that are wanted, all without a count, and where to go on.

    A line that has no end yet is one of them, unless its end is waited for with `follow`.
    """
    end, back = log.end(), LOOK_BACK
    while True:
        start = begin if count is None else max(begin, end - back)
        reading = Lines(log, start)
        lines = filter(wanted, upto(reading, end, follow=follow))
        if count is None:
            return reading, lines
        found = deque(lines, count)
        if start == begin or len(found) == count:
            return reading, found
        back *= 4


def upto(reading: Lines, end: int, *, follow: bool) -> Iterable[bytes]:
    while reading.at < end and (lines := reading.read()) is not None:
        yield from lines
    if not follow:
        yield from reading.unfinished()


def go_on(reading: Lines, wanted: Wanted) -> None:
    """Show lines as they are written, for ever."""
    while True:
        lines = reading.read()
        if lines is None:
            time.sleep(PAUSE)
        else:
            show(filter(wanted, lines))


def show(lines: Iterable[bytes]) -> None:
    """Print lines as they are, but for what could do harm to a terminal."""
    terminal = sys.stdout.isatty()
    for line in lines:
        sys.stdout.buffer.write((harmless(line) if terminal else line) + b"\n")
    sys.stdout.buffer.flush()


def harmless(line: bytes) -> bytes:
    """Leave colours and tabs in a line, and no other control characters."""
    text = line.decode(errors="replace")
    safe = re.sub(r"(\x1b\[[\d;]*m|\t)|[\x00-\x1f\x7f-\x9f]", lambda found: found[1] or "?", text)
    return (safe + ("\x1b[0m" if "\x1b" in safe else "")).encode()
