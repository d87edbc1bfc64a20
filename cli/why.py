"""`bus why`: the chain of causes of a tenant's last state, and what can be done."""

import sys
import time
from pathlib import Path

import click

from bus import words
from bus.api import Bus
from bus.events import Envelope, ProcBackoff, ProcFatal, ProcStopped, ProcStuck, UserInvalid
from cli import said, view
from cli.advice import advise
from cli.helptext import examples
from cli.render import STATE_COLOUR, coloured, event_json, moment, paint, plain
from cli.session import meant, on_bus, reach_settings
from cli.stuck import excerpt
from cli.tail import show_line
from cli.world import brake, reactor, tenants

LONGEST = 100
"""Events of a chain that are looked up, at most."""

FIRST, LAST = 4, 12
"""Of these events, the ones that are shown: all of it fits on a screen."""


@click.command(
    short_help="Tell what led to a tenant's state, and what to do.",
    epilog=examples("bus why acme", "bus why acme --json | jq '.[0]'"),
)
@click.argument("tenant")
@click.option("--json", is_flag=True, help="The chain as an array of events, oldest first.")
def why(tenant: str, *, json: bool) -> None:
    """Tell what led to the last state of TENANT: each event was caused by the one before it.

    Then what happens next, and what can be done.
    """
    settings = reach_settings()

    async def look(bus: Bus) -> tuple[view.TenantRow, list[Envelope], bool]:
        rows = {row.tenant: row for row in await tenants(bus)}
        row = rows[meant([tenant], rows, "tenant")[0]]
        braked = await brake(bus)
        return row, await chain(bus, row.tenant), braked is not None and row.tenant in braked[1].tenants

    row, causes, held = on_bus(settings, look)
    if json:
        print("[" + ",\n ".join(map(event_json, causes)) + "]")
        return
    tell(row, causes, settings.tenants_dir / row.tenant / "log", held=held)


async def chain(bus: Bus, tenant: str) -> list[Envelope]:
    """Give what led to the newest event about a tenant's process, oldest first, that event last.

    What is wrong with its settings stands among them.
    """
    process = (await bus.latest("PROC_*", subject=tenant)).events
    user = (await bus.latest("USER_*", subject=tenant)).events
    up = await reactor(bus)
    if process and user and view.is_past(process[0], user[0], up[0] if up else None):
        process = []
    found = process or user
    wrong = [envelope for envelope in user if isinstance(envelope.event, UserInvalid) and process]
    while found[0].cause and len(found) < LONGEST and (len(found) == 1 or not _is_beginning(found[0])):
        cause = found[0].cause
        before = await bus.replay(after=cause - 1, limit=1)
        if not before or before[0].seq != cause:
            break
        found = [before[0], *found]
    return sorted(found + wrong, key=lambda envelope: envelope.seq)


def _is_beginning(envelope: Envelope) -> bool:
    """Tell whether everything was stopped: what led to that has not led to the start after it."""
    event = envelope.event
    return isinstance(event, ProcStopped) and event.reason == words.ALL_STOP


def tell(row: view.TenantRow, causes: list[Envelope], log: Path, *, held: bool) -> None:
    show = show_line(dates=True)
    between = len(causes) - FIRST - LAST
    for number, envelope in enumerate(causes):
        if between > 1 and FIRST <= number < FIRST + between:
            if number == FIRST:
                print(f"({between} more; `bus why {row.tenant} --json` tells all)")
            continue
        show(envelope)
    if causes[0].cause and len(causes) < LONGEST and not _is_beginning(causes[0]):
        print(f"(its cause, {causes[0].cause}, is in the journal no more)")
    since = f" since {moment(row.since, time.time())}" if row.since else ""
    state = paint(row.state, STATE_COLOUR.get(row.state), on=coloured(sys.stdout))
    print(f"\n{row.tenant} is {state}{since}{': ' if row.reason else ''}{plain(row.reason)}")
    invalid = any(isinstance(envelope.event, UserInvalid) for envelope in causes)
    found = (*_evidence(causes), *said.excerpt(row.tenant, causes, log))
    for line in (*found, *advise(row, _retry_in(causes), invalid=invalid, held=held)):
        print(line)


def _evidence(causes: list[Envelope]) -> list[str]:
    """Give what was found out about the process that was called stuck last."""
    for envelope in reversed(causes):
        if isinstance(envelope.event, ProcStuck) and envelope.event.evidence:
            return excerpt(Path(envelope.event.evidence))
    return []


def _retry_in(causes: list[Envelope]) -> float:
    for envelope in reversed(causes):
        if isinstance(envelope.event, ProcBackoff | ProcFatal):
            return max(0.0, envelope.time + envelope.event.retry_in - time.time())
    return 0.0
