"""`bus service`: one of tenantbus's own processes, alone."""

import sys

import click

from cli.failure import NOT_DONE, Failure
from cli.helptext import examples
from cli.render import STATE_COLOUR, coloured, paint, plain
from cli.session import meant, reach_settings
from cli.supervise.control import Ask, NotRunningError, Verb, request
from cli.view import ServiceRow
from cli.world import SERVICES

WITHIN = 120.0
"""Seconds to wait for `bus up`, which itself waits for the service."""

WANTED = {"start": "RUNNING", "restart": "RUNNING", "stop": "STOPPED"}


@click.group(
    short_help="Start, stop or restart one of tenantbus's own processes.",
    epilog=examples("bus service restart dbwatch", "bus service stop reactor"),
)
def service() -> None:
    """Start, stop or restart a service that `bus up` runs; tenants and the other services do not notice.

    The services are broker, pathwatch, dbwatch, dispatcher and reactor. Exit code 1 when it
    did not get there. Services that systemd runs are systemd's: systemctl restart tenantbus-dbwatch.
    """


@service.command(short_help="Start a service.")
@click.argument("name")
def start(name: str) -> None:
    """Start the service NAME, also when it is FATAL or in a pause; returns when it is ready."""
    ask("start", name)


@service.command(short_help="Stop a service.")
@click.argument("name")
def stop(name: str) -> None:
    """Stop the service NAME until it is started by hand or with the next `bus up`; tenants run on."""
    ask("stop", name)


@service.command(short_help="Restart a service.")
@click.argument("name")
def restart(name: str) -> None:
    """Stop the service NAME and start it; returns when the new process is ready."""
    ask("restart", name)


def ask(verb: Verb, name: str) -> None:
    settings = reach_settings()
    meant([name], SERVICES, "service")
    try:
        if verb != "stop":
            _warn(request(settings, Ask(verb="list"), WITHIN).services, name)
        answer = request(settings, Ask(verb=verb, service=name), WITHIN)
    except NotRunningError:
        raise Failure(
            f"no `bus up` runs on {settings.run_dir}; if systemd runs the services:"
            f" systemctl {verb} tenantbus-{name}"
        ) from None
    except TimeoutError:
        raise Failure(f"`bus up` did not answer within {WITHIN:g} s") from None
    if answer.error:
        raise Failure(answer.error)
    for row in answer.services:
        print(_line(row))
        if row.state != WANTED[verb]:
            raise click.exceptions.Exit(NOT_DONE)


def _warn(rows: list[ServiceRow], name: str) -> None:
    """Say what a service waits for that is started without a broker."""
    broker = next(row for row in rows if row.service == "broker")
    if name != "broker" and broker.state != "RUNNING":
        print(f"bus: the broker is {broker.state}; {name} waits for it", file=sys.stderr, flush=True)


def _line(row: ServiceRow) -> str:
    state = paint(row.state, STATE_COLOUR.get(row.state), on=coloured(sys.stdout))
    pid = f"pid {row.pid}" if row.pid else ""
    return "  ".join(filter(None, (row.service, state, pid, plain(row.reason))))
