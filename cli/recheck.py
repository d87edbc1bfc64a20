"""`bus db recheck`: have databases checked anew, and see what comes of it."""

import asyncio
import sys

import click

from bus.api import Bus, Subscription
from bus.events import DbEvent, DbRecheckRequested
from cli import view
from cli.failure import NOT_DONE
from cli.helptext import examples
from cli.render import STATE_COLOUR, as_json, coloured, paint, plain
from cli.session import load_settings, meant, on_bus, who
from cli.world import services, tenants

WORKING = {"UP", "DEGRADED"}


@click.command(
    short_help="Have databases checked anew.", epilog=examples("bus db recheck", "bus db recheck db1 --json")
)
@click.argument("names", metavar="[DATABASE]...", nargs=-1)
@click.option("--json", is_flag=True, help="One array of objects; times in seconds since the epoch.")
@click.option(
    "--timeout",
    "within",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds to wait.",
)
def recheck(*, names: tuple[str, ...], json: bool, within: float) -> None:
    """Have databases checked at once, all of them or those named, by new watchdogs, and show what they found.

    That works while a check hangs. A database that is held down because it flapped is judged by this check
    alone. Exit code 1 when one of them is neither UP nor DEGRADED.
    """
    settings = load_settings()

    async def work(bus: Bus) -> list[view.DatabaseRow]:
        await _warn(bus)
        asked = meant(names, settings.databases, "database") if names else list(settings.databases)
        answered = await _ask(bus, asked, within)
        rows = view.databases(asked, (await bus.latest("DB_*")).events, await tenants(bus))
        return [row if row.database in answered else _unanswered(row, within) for row in rows]

    rows = on_bus(settings, work)
    print(as_json(rows) if json else "\n".join(map(_line, rows)))
    if any(row.state not in WORKING for row in rows):
        raise click.exceptions.Exit(NOT_DONE)


async def _ask(bus: Bus, names: list[str], within: float) -> set[str]:
    """Ask for a check of each; gives those of which a verdict came that was caused by that."""
    events = await bus.subscribe("DB_*")
    try:
        asked = [bus.publish(DbRecheckRequested(database=name, by=who())) for name in names]
        seqs = {name: await publication for name, publication in zip(names, asked, strict=True)}
        return await _answered(events, seqs, within)
    finally:
        await events.aclose()


async def _answered(events: Subscription, seqs: dict[str, int], within: float) -> set[str]:
    waiting = dict(seqs)
    try:
        async with asyncio.timeout(within):
            while waiting:
                envelope = await anext(events)
                # who asks later for the same is answered together with us
                if isinstance(envelope.event, DbEvent) and envelope.cause >= seqs.get(
                    envelope.subject, sys.maxsize
                ):
                    waiting.pop(envelope.subject, None)
    except TimeoutError:
        pass
    return seqs.keys() - waiting.keys()


def _unanswered(row: view.DatabaseRow, within: float) -> view.DatabaseRow:
    return row._replace(state="UNKNOWN", reason=f"dbwatch gave no answer within {within:g} s")


async def _warn(bus: Bus) -> None:
    """Say so when nobody is there who would check."""
    for row in await services(bus):
        if row.service == "dbwatch" and row.state != "RUNNING":
            print("bus: dbwatch does not run", file=sys.stderr)


def _line(row: view.DatabaseRow) -> str:
    state = paint(row.state, STATE_COLOUR.get(row.state), on=coloured(sys.stdout))
    return "  ".join(filter(None, (row.database, state, plain(row.reason), plain(row.sync))))
