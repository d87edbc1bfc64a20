"""`bus services`: tenantbus's own processes."""

import click

from bus.settings import Settings
from cli import view, world
from cli.failure import Failure
from cli.helptext import examples
from cli.render import show
from cli.session import on_bus, reach_settings
from cli.supervise.control import Ask, NotRunningError, request

WITHIN = 10.0
"""Seconds to wait for `bus up`."""


@click.command(
    short_help="Show tenantbus's own processes.",
    epilog=examples(
        "bus services", """bus services --json | jq -r '.[] | select(.service == "reactor") | .pid'"""
    ),
)
@click.option("--json", is_flag=True, help="One array of objects; times in seconds since the epoch.")
def services(*, json: bool) -> None:
    """Show tenantbus's own processes: as `bus up` sees them, or else as they said themselves on the bus.

    STATE is one of STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL, or UNKNOWN. RESTARTS are counted
    by `bus up`.
    """
    show(view.ServiceRow._fields, look(reach_settings()), json=json)


def look(settings: Settings) -> list[view.ServiceRow]:
    try:
        return request(settings, Ask(verb="list"), WITHIN).services
    except NotRunningError:
        return on_bus(settings, world.services)
    except TimeoutError:
        raise Failure(f"`bus up` did not answer within {WITHIN:g} s") from None
