"""`bus ps`: the tenants, each with its state and why."""

import sys

import click

from cli import view
from cli.helptext import examples
from cli.render import show
from cli.session import load_settings, meant, on_bus
from cli.world import tenants


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
    rows = on_bus(load_settings(), tenants)
    if names:
        wanted = meant(names, [row.tenant for row in rows], "tenant")
        rows = [row for row in rows if row.tenant in wanted]
    if not rows and not json:
        print("no tenants yet: a directory with a tenant.toml is one", file=sys.stderr)
        return
    show(view.TenantRow._fields, rows, json=json)
