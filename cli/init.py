"""`bus init`: a starting point that works as it is."""

import shutil
from pathlib import Path
from shlex import quote

import click

from bus import settings as settings_file
from bus.errors import FileError
from cli.failure import Failure
from cli.helptext import examples

TEMPLATE = Path(__file__).with_name("template")

NEXT = """\
Made {where}. Next:
  {enter}bus up              run it; Ctrl-C stops everything
and in another terminal{there}:
  bus ps              what runs, and on which port
  curl http://127.0.0.1:$(cat tenants/first/run/port)/
  bus tail --since 5m what happened
One more customer:
  mkdir tenants/second; echo 'package = "hello"' > tenants/second/tenant.toml
"""


@click.command(
    short_help="Make a starting point that works as it is.",
    epilog=examples("bus init shop && cd shop && bus up", "bus init ."),
)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def init(directory: Path) -> None:
    """Make DIR with commented settings, a minimal application and a first tenant.

    Nothing that is there is overwritten.
    """
    files = [file.relative_to(TEMPLATE) for file in sorted(TEMPLATE.rglob("*")) if _is_ours(file)]
    present = [name for name in files if (directory / name).exists()]
    if present:
        raise Failure(f"{directory / present[0]} is there already; nothing was changed")
    for name in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TEMPLATE / name, directory / name)
    _check(directory)
    here = directory.resolve() == Path.cwd()
    enter = "" if here else f"cd {quote(str(directory))} && "
    print(NEXT.format(where=directory, enter=enter, there="" if here else " (there)"), end="")


def _is_ours(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts


def _check(directory: Path) -> None:
    """Say at once when the place is one where it cannot run: its path may be too long for sockets."""
    try:
        settings_file.load(directory / "tenantbus.toml")
    except FileError as error:
        raise Failure(f"made, but it cannot run as it is: {error}") from None
