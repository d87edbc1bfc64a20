"""`bus check`: every error in settings, packages and tenants, without a running bus."""

import sys
from pathlib import Path

import click

from bus import cgroups
from bus import settings as settings_file
from bus.errors import FileError
from cli.failure import NOT_DONE
from cli.findings import Finding, inspect
from cli.helptext import examples
from cli.render import as_json, coloured, paint, plain


@click.command(
    short_help="Look for errors in settings, packages and tenants.",
    epilog=examples(
        "bus check", "bus check --json | jq -r '.[].file'", "bus check && systemctl restart tenantbus-reactor"
    ),
)
@click.option("--json", is_flag=True, help="One array of objects: file, line, key, reason.")
def check(*, json: bool) -> None:
    """Look through the settings, the packages and the tenants, and tell every error: file, line, key, reason.

    Nothing needs to run, and nothing is started. Exit code 1 when there is an error.
    """
    file = settings_file.find(click.get_current_context().find_root().obj)
    findings, summary = look(file)
    if json:
        print(as_json(findings))
    else:
        for finding in findings:
            print(_line(finding))
        print(summary, file=sys.stderr)
    if findings:
        raise click.exceptions.Exit(NOT_DONE)


def look(file: Path) -> tuple[list[Finding], str]:
    """Give the errors, and in words how much of what is there is right."""
    try:
        inspection = inspect(settings_file.load(file))
    except FileError as error:
        return [Finding(error.file, error.line or None, error.key, error.reason)], "1 error"
    right = (
        f"{inspection.tenants} tenants, {len(inspection.releases)} releases,"
        f" {len(inspection.settings.databases)} databases"
    )
    note = cgroups.lacking({*cgroups.CONTROLLERS} - (inspection.controllers - cgroups.find().keys()))
    summary = f"{_count(inspection.findings)}; good: {right}"
    return inspection.findings, f"{summary}\nnote: {note}" if note else summary


def _count(findings: list[Finding]) -> str:
    match len(findings):
        case 0:
            return "no errors"
        case 1:
            return "1 error"
        case count:
            return f"{count} errors"


def _line(finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    shown = paint(plain(place), "red", on=coloured(sys.stdout))
    return ": ".join(filter(None, (shown, plain(finding.key), plain(finding.reason))))
