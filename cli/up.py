"""`bus up`: everything in the foreground, until Ctrl-C."""

import os
import sys
import time

import click

from bus import lock
from bus.errors import AlreadyRunningError
from bus.settings import Settings
from cli.failure import NOT_DONE, SETTINGS
from cli.helptext import examples
from cli.session import load_settings
from cli.supervise.foreground import LOCK, End, Plan, run
from cli.world import SERVICES

CODES = {End.DONE: 0, End.CANNOT: SETTINGS, End.TENANTS_LEFT: NOT_DONE}

GONE_WITHIN = 15.0
"""Seconds that services of a `bus up` that was killed have to end: they do so by themselves."""


@click.command(
    short_help="Run everything in the foreground.",
    epilog=examples("bus up", "bus up --quiet 2>>up.log &", "bus -c /srv/shop/tenantbus.toml up"),
)
@click.option("-q", "--quiet", is_flag=True, help="Do not show events.")
@click.option(
    "--hung-after",
    metavar="SECONDS",
    type=click.FloatRange(min=0.2),
    default=10.0,
    show_default=True,
    help="End a service that gives no sign of life for so long, and start it again.",
)
def up(*, quiet: bool, hung_after: float) -> None:
    """Run the broker and all services in the foreground, and show events as they come.

    A service that crashes or hangs is started again. Ctrl-C (or SIGTERM) stops the tenants, then the
    services; a second Ctrl-C does not wait, and leaves tenants running. So does the death of `bus up`
    itself: the next one takes the tenants back.
    """
    settings = load_settings()
    settings.prepare()
    lock.hold(settings.run_dir / LOCK, "bus up")
    _wait_for_former(settings)
    end = run(Plan(settings=settings, quiet=quiet, hung_after=hung_after))
    raise click.exceptions.Exit(CODES[end])


def _wait_for_former(settings: Settings) -> None:
    """Wait until services that we do not know have ended; raises AlreadyRunningError if they do not."""
    until = time.monotonic() + GONE_WITHIN
    told = False
    for name in SERVICES:
        while True:
            try:
                os.close(lock.hold(settings.run_dir / f"{name}.lock", name))
                break
            except AlreadyRunningError as error:
                if time.monotonic() > until:
                    raise
                if not told:
                    print(f"bus: waiting: {error}", file=sys.stderr)
                    told = True
                time.sleep(0.05)
