"""`bus start`, `bus stop`, `bus restart`: ask for something, and wait for what comes of it."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from bus.api import Bus
from bus.events import RestartRequested, StartRequested, StopRequested
from cli import view
from cli.failure import NOT_DONE
from cli.helptext import examples
from cli.outcome import Outcome, Pursuit, Request
from cli.render import as_json, coloured, paint, plain
from cli.session import meant, on_bus, reach_settings, who
from cli.world import services

F = TypeVar("F", bound=Callable[..., Any])
Tell = Callable[[Outcome], None]

REQUESTS = ("START_REQUESTED", "STOP_REQUESTED", "RESTART_REQUESTED")

COLOUR = {True: "green", False: "red"}


class Wish(NamedTuple):
    """What the command line said."""

    names: tuple[str, ...]
    everybody: bool
    reason: str
    within: float
    no_wait: bool
    json: bool


def options(command: F) -> F:
    """Give a command what all three share."""
    for option in (
        click.option("--json", is_flag=True, help="One array of objects."),
        click.option("--no-wait", is_flag=True, help="Ask, and do not wait for what comes of it."),
        click.option(
            "--timeout",
            "within",
            metavar="SECONDS",
            type=click.FloatRange(min=0),
            default=60.0,
            show_default=True,
            help="Seconds to wait.",
        ),
        click.option("--reason", metavar="TEXT", default="", help="Why, for those who ask later."),
        click.option("--all", "everybody", is_flag=True, help="All tenants."),
        click.argument("names", metavar="TENANT...", nargs=-1),
    ):
        command = option(command)
    return command


@click.command(
    short_help="Start tenants.", epilog=examples("bus start acme", "bus start 'shop-*' --timeout 10")
)
@options
def start(**given: Any) -> None:
    """Start tenants that are stopped; also releases them from FATAL and BACKOFF.

    Exit code 1 when one of them does not serve in the end.
    """
    ask(StartRequested, Wish(**given))


@click.command(
    short_help="Stop tenants until they are started again.",
    epilog=examples("bus stop acme --reason 'unpaid invoice'", "bus stop --all --no-wait"),
)
@options
def stop(**given: Any) -> None:
    """Stop tenants: they finish their requests, and stay stopped until `bus start`, also after a reboot."""
    ask(StopRequested, Wish(**given))


@click.command(
    short_help="Replace the processes of tenants.", epilog=examples("bus restart acme", "bus restart --all")
)
@options
def restart(**given: Any) -> None:
    """Replace the processes of tenants: the old one serves until the new one does. Starts what is stopped.

    Exit code 1 when one of them does not serve in the end, or still with its old process.
    """
    ask(RestartRequested, Wish(**given))


def ask(kind: type[Request], wish: Wish) -> None:
    if not wish.names and not wish.everybody:
        raise click.UsageError("name a tenant, or say --all")

    async def work(bus: Bus) -> list[Outcome]:
        known = view.present((await bus.latest("USER_*")).events)
        names = known if wish.everybody else meant(wish.names, known, "tenant")
        requests = [kind(tenant=name, by=who(), reason=wish.reason) for name in names]
        if wish.no_wait:
            return await submit(bus, requests, tell)
        await warn_without_reactor(bus)
        return await pursue(bus, requests, wish.within, tell)

    def tell(outcome: Outcome) -> None:
        if not wish.json:
            print(_line(outcome), flush=True)

    outcomes = on_bus(reach_settings(), work)
    if wish.json:
        print(as_json(outcomes))
    failed = [outcome.tenant for outcome in outcomes if not outcome.done]
    if failed:
        print(f"bus: `bus why {failed[0]}` tells more", file=sys.stderr)
        raise click.exceptions.Exit(NOT_DONE)


async def warn_without_reactor(bus: Bus) -> None:
    """Say so when nobody is there who would act; the journal keeps the request."""
    for row in await services(bus):
        if row.service == "reactor" and row.state != "RUNNING":
            print("bus: the reactor does not run; it will act on this when it does", file=sys.stderr)


async def submit(bus: Bus, requests: Sequence[Request], tell: Tell) -> list[Outcome]:
    """Publish requests, and wait for no more than that the journal has them."""
    outcomes = []
    for request, publication in [(request, bus.publish(request)) for request in requests]:
        outcomes.append(Outcome(request.tenant, True, "REQUESTED", None, f"seq {await publication}"))
        tell(outcomes[-1])
    return outcomes


async def pursue(bus: Bus, requests: Sequence[Request], within: float, tell: Tell) -> list[Outcome]:
    """Publish requests, and tell what became of each as soon as it is known, or after `within` seconds."""
    events = await bus.subscribe("PROC_*", *REQUESTS)
    asked = [(request, bus.publish(request)) for request in requests]
    waiting = {request.tenant: Pursuit(request, await publication) for request, publication in asked}
    outcomes = []
    try:
        async with asyncio.timeout(within):
            while waiting:
                envelope = await anext(events)
                pursuit = waiting.get(envelope.subject)
                outcome = pursuit.hear(envelope) if pursuit else None
                if outcome:
                    del waiting[outcome.tenant]
                    outcomes.append(outcome)
                    tell(outcome)
    except TimeoutError:
        for name in waiting:
            outcomes.append(Outcome(name, False, "UNKNOWN", None, f"not within {within:g} s"))
            tell(outcomes[-1])
    finally:
        await events.aclose()
    return outcomes


def _line(outcome: Outcome) -> str:
    state = paint(outcome.state, COLOUR[outcome.done], on=coloured(sys.stdout))
    facts = [f"pid {outcome.pid}" if outcome.pid else "", plain(outcome.reason)]
    return "  ".join(filter(None, (outcome.tenant, state, *facts)))
