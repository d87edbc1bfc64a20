"""`bus tail`: events as they come."""

import difflib
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from fnmatch import fnmatchcase

import click

from bus.api import Bus
from bus.events import BY_TYPE, Envelope
from cli.describe import describe
from cli.helptext import examples
from cli.render import coloured, event_json, event_line
from cli.session import on_bus, reach_settings
from cli.span import Ago, Seq, parse

BEFORE = 10
"""Events that are shown from before, when nothing else is asked for."""

PAGE = 1000

TENANT_FAMILIES = {"USER", "PROC", "REQUEST"}

Show = Callable[[Envelope], None]


def read_since(_: click.Context, __: click.Parameter, text: str | None) -> Ago | Seq | None:
    try:
        return parse(text) if text is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def read_types(_: click.Context, __: click.Parameter, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Expand patterns to the types that there are, so that a wrong name is an error and not silence."""
    found: list[str] = []
    for pattern in patterns:
        matching = [name for name in BY_TYPE if fnmatchcase(name, pattern.upper())]
        if not matching:
            near = difflib.get_close_matches(pattern.upper(), BY_TYPE, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {' '.join(BY_TYPE)}"
            raise click.BadParameter(f"no type of event is called {pattern!r}; {hint}")
        found += matching
    return tuple(found)


@click.command(
    short_help="Show events as they come.",
    epilog=examples(
        "bus tail",
        "bus tail --since 10m --no-follow",
        "bus tail --type 'DB_*' --type PROC_MOVED",
        "bus tail --tenant acme --since 1d --json --no-follow | jq .event",
    ),
)
@click.option(
    "--since",
    metavar="TIME|SEQ",
    callback=read_since,
    help="Begin so long ago (90s, 10m, 2h, 1d) or at that seq; default: the last 10 events.",
)
@click.option(
    "--type",
    "types",
    metavar="TYPE",
    multiple=True,
    callback=read_types,
    help="Only events of this type; a pattern such as 'DB_*' is several. May be repeated.",
)
@click.option("--tenant", metavar="TENANT", default="", help="Only events about this tenant.")
@click.option("--json", is_flag=True, help="One object a line (JSON lines, since there is no end).")
@click.option("--no-follow", is_flag=True, help="End with the newest event there is.")
def tail(
    *, since: Ago | Seq | None, types: tuple[str, ...], tenant: str, json: bool, no_follow: bool
) -> None:
    """Show events, one a line: time, seq, type, subject, what matters, <- the seq of its cause.

    A broker that is restarted meanwhile leaves no gap.
    """
    if tenant and not types:
        types = tuple(name for name, event in BY_TYPE.items() if event.family in TENANT_FAMILIES)
    show = _show_json if json else show_line(dates=isinstance(since, Ago | Seq))

    async def look(bus: Bus) -> None:
        after, head = await _begin(bus, since)
        events: AsyncIterable[Envelope]
        if no_follow:
            events = _until(head, bus, *types, subject=tenant, after=after)
        else:
            events = await bus.subscribe(*types, subject=tenant, after=after)
        async for envelope in events:
            show(envelope)

    on_bus(reach_settings(), look)


async def _begin(bus: Bus, since: Ago | Seq | None) -> tuple[int, int]:
    """Give the seq after which to begin, and the newest one."""
    head = (await bus.latest("JOURNAL_*")).head
    match since:
        case Seq(seq):
            return max(0, seq - 1), head
        case Ago(seconds):
            return await bus.seq_at(time.time() - seconds), head
        case None:
            return max(0, head - BEFORE), head


async def _until(head: int, bus: Bus, *types: str, subject: str, after: int) -> AsyncIterator[Envelope]:
    """Give the events up to `head`, which need not match itself."""
    while after < head:
        page = await bus.replay(*types, subject=subject, after=after, limit=PAGE)
        for envelope in page:
            if envelope.seq <= head:
                yield envelope
        after = page[-1].seq if len(page) == PAGE else head


def _show_json(envelope: Envelope) -> None:
    print(event_json(envelope), flush=True)


def show_line(*, dates: bool) -> Show:
    """Make what prints an event on a line, with the date of those from before today if `dates` is wanted."""
    colours = coloured(sys.stdout)
    midnight = time.mktime((*time.localtime()[:3], 0, 0, 0, 0, 0, -1))

    def show(envelope: Envelope) -> None:
        old = dates and envelope.time < midnight
        print(event_line(envelope, describe(envelope.event), colours=colours, dates=old), flush=True)

    return show
