"""`bus db`: the databases."""

import sys

import click

from bus.api import Bus
from cli import view
from cli.drain import drain, undrain
from cli.evacuation import drained, mark
from cli.helptext import examples
from cli.recheck import recheck
from cli.render import show
from cli.session import load_settings, on_bus
from cli.world import tenants


@click.group(
    invoke_without_command=True,
    short_help="Show the databases.",
    epilog=examples("bus db", """bus db --json | jq -r '.[] | select(.state == "DOWN") | .database'"""),
)
@click.option("--json", is_flag=True, help="One array of objects; times in seconds since the epoch.")
@click.pass_context
def db(context: click.Context, *, json: bool) -> None:
    """Show the databases of the settings, and how many tenants run on each; or do something with one.

    STATE is one of UP DEGRADED DOWN MISCONFIGURED UNKNOWN. LATENCY is the seconds that a check took, HEADROOM
    the connections that it can still take, SYNC its place in replication or in a Galera cluster: as they were
    when dbwatch last had something to say. `bus db recheck` asks for them as they are.
    """
    if context.invoked_subcommand:
        return
    settings = load_settings()

    async def look(bus: Bus) -> list[view.DatabaseRow]:
        events = (await bus.latest("DB_*")).events
        return mark(view.databases(settings.databases, events, await tenants(bus)), drained(events))

    rows = on_bus(settings, look)
    if not rows and not json:
        print(f"no databases: {settings.file} has no [databases.NAME]", file=sys.stderr)
        return
    show(view.DatabaseRow._fields, rows, json=json)


db.add_command(drain)
db.add_command(undrain)
db.add_command(recheck)
