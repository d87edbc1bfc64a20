"""`bus db drain`, `bus db undrain`: let all tenants leave a database, and use it again."""

import asyncio
import sys
from collections.abc import Callable, Collection
from typing import NamedTuple

import click

from bus.api import Bus, Subscription
from bus.events import DbDrainRequested, DbUndrainRequested, Envelope, UserAdded, UserModified
from bus.settings import Settings
from cli.evacuation import NOWHERE, Departure, Evacuation, cannot_leave, drained
from cli.failure import NOT_DONE, Failure
from cli.helptext import examples
from cli.render import as_json, coloured, paint, plain
from cli.request import warn_without_reactor
from cli.session import load_settings, meant, on_bus, who
from cli.world import tenants

DRAINS = ("DB_DRAIN_REQUESTED", "DB_UNDRAIN_REQUESTED")

COLOUR = {"MOVED": "green", "ENDED": "yellow", "STAYS": "red"}


@click.command(
    short_help="Let all tenants leave a database.",
    epilog=examples("bus db drain db1", "bus db drain db1 --no-wait", "bus db undrain db1"),
)
@click.argument("name")
@click.option("--json", is_flag=True, help="One array of objects.")
@click.option("--no-wait", is_flag=True, help="Ask, and do not wait for what comes of it.")
@click.option(
    "--timeout",
    "within",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    help="Seconds to wait.",
)
def drain(*, name: str, json: bool, no_wait: bool, within: float) -> None:
    """Move all tenants away from the database NAME, for maintenance, and send no new ones there.

    Shows who has left, and confirms that nobody is left. That lasts until `bus db undrain`, also over
    restarts of everything. Exit code 1 when somebody stays: whoever may use no other database that is up.
    """
    settings = load_settings()
    meant([name], settings.databases, "database")

    async def work(bus: Bus) -> list[Departure]:
        await warn_without_reactor(bus)
        if no_wait:
            await bus.publish(DbDrainRequested(database=name, by=who()))
            return []
        return await evacuate(bus, settings, name, tell, within)

    def tell(departure: Departure) -> None:
        if not json:
            print(_line(departure), flush=True)

    departures = on_bus(settings, work)
    if json:
        print(as_json(departures))
    _conclude(name, departures, waited=not no_wait)


@click.command(short_help="Use a database again.", epilog=examples("bus db undrain db1"))
@click.argument("name")
def undrain(name: str) -> None:
    """Let tenants come to the database NAME again: it fills as they come and go, or go back if that is on."""
    settings = load_settings()
    meant([name], settings.databases, "database")

    async def work(bus: Bus) -> None:
        await warn_without_reactor(bus)
        await bus.publish(DbUndrainRequested(database=name, by=who()))

    on_bus(settings, work)
    print(f"{name} takes tenants again")


async def evacuate(
    bus: Bus, settings: Settings, name: str, tell: Callable[[Departure], None], within: float
) -> list[Departure]:
    """Ask for a drain; tell of each who leaves, and after `within` seconds of those who stay."""
    events = await bus.subscribe("PROC_*", *DRAINS)
    try:
        evacuation = Evacuation(name, await tenants(bus))  # before anybody can have left
        seq = await bus.publish(DbDrainRequested(database=name, by=who()))
        staying = await _staying(bus, settings, name) & evacuation.left.keys()
        return await _follow(_Following(evacuation, staying, events, seq, tell), within)
    finally:
        await events.aclose()


class _Following(NamedTuple):
    evacuation: Evacuation
    staying: Collection[str]
    """Who is not waited for."""
    events: Subscription
    asked: int
    """seq of the request."""
    tell: Callable[[Departure], None]


async def _follow(each: _Following, within: float) -> list[Departure]:
    """Tell who leaves, until all have left that can, or for `within` seconds."""
    left, departures = (
        each.evacuation.left,
        [each.evacuation.stays(name, NOWHERE) for name in sorted(each.staying)],
    )
    for departure in departures:
        each.tell(departure)
    try:
        async with asyncio.timeout(within):
            while left.keys() - each.staying:
                gone = _hear(each, await anext(each.events))
                if gone:
                    departures.append(gone)
                    each.tell(gone)
    except TimeoutError:
        for name in sorted(left.keys() - each.staying):
            departures.append(each.evacuation.stays(name))
            each.tell(departures[-1])
    return departures


def _hear(each: _Following, envelope: Envelope) -> Departure | None:
    event = envelope.event
    if isinstance(event, DbUndrainRequested) and envelope.seq > each.asked:
        raise Failure(f"overtaken by {event.type} of {event.by}")
    return each.evacuation.hear(envelope)


async def _staying(bus: Bus, settings: Settings, name: str) -> set[str]:
    """Tell which tenants may use no other database; what counts are their last good settings."""
    users = (await bus.latest("USER_ADDED", "USER_MODIFIED")).events
    known = {
        each.subject: each.event.settings
        for each in users
        if isinstance(each.event, UserAdded | UserModified)
    }
    return cannot_leave(name, known, settings.databases, drained((await bus.latest(*DRAINS)).events))


def _conclude(name: str, departures: list[Departure], *, waited: bool) -> None:
    staying = [each.tenant for each in departures if each.state == "STAYS"]
    if staying:
        print(f"bus: {name} is still used by {', '.join(staying)}", file=sys.stderr)
        raise click.exceptions.Exit(NOT_DONE)
    said = f"nobody uses {name} any more" if waited else f"asked; `bus db` shows who is left on {name}"
    print(f"{said}; `bus db undrain {name}` ends that", file=sys.stderr)


def _line(departure: Departure) -> str:
    state = paint(departure.state, COLOUR[departure.state], on=coloured(sys.stdout))
    facts = (departure.tenant, state, departure.database, plain(departure.reason))
    return "  ".join(filter(None, facts))
