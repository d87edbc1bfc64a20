"""`bus ps`: the tenants, each with its state and why."""

import sys
import time

import click

from bus.api import Bus
from cli import view
from cli.helptext import examples
from cli.render import coloured, moment, paint, plain, show
from cli.session import meant, on_bus, reach_settings
from cli.world import brake, tenants, unwritten


@click.command(
    short_help="Show the tenants.",
    epilog=examples(
        "bus ps",
        "bus ps acme 'shop-*'",
        """bus ps --json | jq -r '.[] | select(.state != "RUNNING") | .tenant'""",
    ),
)
@click.argument("names", metavar="[TENANT]...", nargs=-1)
@click.option("--json", is_flag=True, help="One array of objects; times in seconds since the epoch.")
def ps(names: tuple[str, ...], *, json: bool) -> None:
    """Show the tenants, or those named; a name may be a pattern.

    STATE is one of STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN INVALID WAITING STUCK
    SLEEPING (on demand).
    SINCE is when that began; RESTARTS counts the starts that nobody asked for.
    """

    async def look(bus: Bus) -> tuple[list[view.TenantRow], list[tuple[str, str]]]:
        return await tenants(bus), await alarms(bus)

    rows, trouble = on_bus(reach_settings(), look)
    if names:
        wanted = meant(names, [row.tenant for row in rows], "tenant")
        rows = [row for row in rows if row.tenant in wanted]
    if not rows and not json:
        print("no tenants yet: a directory with a tenant.toml is one", file=sys.stderr)
        return
    show(view.TenantRow._fields, rows, json=json)
    for what, advice in () if json else trouble:
        print(paint(f"{what}.", "red", on=coloured(sys.stderr)), advice, file=sys.stderr)


async def alarms(bus: Bus) -> list[tuple[str, str]]:
    """Give what is wrong with more than one tenant, and what to do."""
    found, now = [], time.time()
    if braked := await brake(bus):
        since, on = braked
        found.append((f"brake on since {moment(since, now)}: {plain(on.reason)}", "See `bus dispatcher`."))
    if silent := await unwritten(bus):
        since, degraded = silent
        found.append(
            (
                f"journal not written since {moment(since, now)}: {plain(degraded.reason)}",
                f"Is there room for {plain(degraded.journal)}?",
            )
        )
    return found
