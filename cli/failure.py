"""What ends a command early: one line for people, one exit code for scripts."""

import click

DONE, NOT_DONE, USAGE, SETTINGS, NO_BUS = range(5)
INTERRUPTED = 130


class Failure(click.ClickException):
    """Shown as one line on stderr."""

    exit_code = NOT_DONE
