"""`bus db`: the databases."""

import sys

import click

from bus.api import Bus
from cli import view
from cli.helptext import examples
from cli.render import show
from cli.session import load_settings, on_bus
from cli.world import tenants


@click.command(
    short_help="Show the databases.",
    epilog=examples("bus db", """bus db --json | jq -r '.[] | select(.state == "DOWN") | .database'"""),
)
@click.option("--json", is_flag=True, help="One array of objects; times in seconds since the epoch.")
def db(*, json: bool) -> None:
    """Show the databases of the settings, and how many tenants run on each.

    STATE is one of UP DEGRADED DOWN MISCONFIGURED UNKNOWN.
    """
    settings = load_settings()

    async def look(bus: Bus) -> list[view.DatabaseRow]:
        events = (await bus.latest("DB_*")).events
        return view.databases(settings.databases, events, await tenants(bus))

    rows = on_bus(settings, look)
    if not rows and not json:
        print(f"no databases: {settings.file} has no [databases.NAME]", file=sys.stderr)
        return
    show(view.DatabaseRow._fields, rows, json=json)
