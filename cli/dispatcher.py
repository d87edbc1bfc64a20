"""`bus dispatcher`: whom it asks when, whom it suspects, and the brake."""

import asyncio
import socket
import time
from typing import NamedTuple

import click
import msgspec

from bus.api import Bus
from bus.events import BrakeReleaseRequested
from bus.queue_table import QueueTable
from bus.settings import Settings
from cli.failure import Failure
from cli.helptext import examples
from cli.render import show
from cli.session import meant, on_bus, reach_settings, who
from cli.span import duration

WITHIN = 5.0
"""Seconds that the dispatcher has to answer."""


class PlaceRow(NamedTuple):
    tenant: str
    queue: str
    place: int
    due: str
    reason: str


@click.command(
    short_help="Show who is asked when, who is suspected, and the brake.",
    epilog=examples(
        "bus dispatcher",
        "bus dispatcher acme 'shop-*'",
        "bus dispatcher --release",
        "bus dispatcher --json | jq .suspect",
    ),
)
@click.argument("names", metavar="[TENANT]...", nargs=-1)
@click.option("--release", is_flag=True, help="Release the brake: end whoever is stuck, however many.")
@click.option("--json", is_flag=True, help="One object; times in seconds since the epoch.")
def dispatcher(names: tuple[str, ...], *, release: bool, json: bool) -> None:
    """Show how the dispatcher watches tenants: all, or those named; a name may be a pattern.

    QUEUE is one of: due, asked over HTTP when its time comes, unless it has answered requests by then; in
    flight, asked, and to answer by then; suspect, asked again or convicted at that time.
    """
    settings = reach_settings()
    if release:
        on_bus(settings, _release)
        return
    table = ask(settings)
    if names:
        wanted = set(meant(names, [place.tenant for place in table.places], "tenant"))
        table = msgspec.structs.replace(
            table, places=[each for each in table.places if each.tenant in wanted]
        )
    if json:
        print(msgspec.json.format(msgspec.json.encode(table), indent=2).decode())
        return
    print(
        f"{table.watched} tenants: {table.due} due, {table.in_flight} in flight, {table.suspect} suspect;"
        f" brake {table.brake}; last look {table.look * 1000:.2f} ms"
    )
    now = time.time()
    rows = [
        PlaceRow(each.tenant, each.queue, each.place, f"in {duration(max(0.0, each.due - now))}", each.reason)
        for each in table.places
    ]
    if rows:
        show(PlaceRow._fields, rows, json=False)


def ask(settings: Settings) -> QueueTable:
    """Ask the dispatcher how things stand; raises Failure when it does not answer."""
    path = settings.dispatcher_socket
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WITHIN)
            connection.connect(str(path))
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return msgspec.json.decode(answer, type=QueueTable)
    except (OSError, msgspec.MsgspecError) as error:
        raise Failure(f"the dispatcher does not answer at {path}: {error}; see `bus services`") from None


async def _release(bus: Bus) -> None:
    off = await bus.subscribe("BRAKE_OFF")
    bus.publish(BrakeReleaseRequested(by=who()))
    try:
        async with asyncio.timeout(WITHIN):
            await anext(off)
    except TimeoutError:
        raise Failure("the brake is not on, or the dispatcher does not run: see `bus services`") from None
    finally:
        await off.aclose()
