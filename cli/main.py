"""The command `bus`: imports only the command that is meant, and turns errors into one line."""

import difflib
import os
import sys
from importlib import import_module

import click

from bus.errors import BusError, BusUnavailableError
from cli.failure import DONE, INTERRUPTED, NO_BUS, NOT_DONE, SETTINGS, USAGE
from cli.helptext import EXIT_CODES, examples

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Look": {
        "ps": ("cli.ps:ps", "Show the tenants."),
        "tail": ("cli.tail:tail", "Show events as they come."),
        "logs": ("cli.logs:logs", "Show what a tenant printed."),
        "why": ("cli.why:why", "Tell what led to a tenant's state, and what to do."),
        "db": ("cli.db:db", "Show the databases."),
        "dispatcher": (
            "cli.dispatcher:dispatcher",
            "Show who is asked when, who is suspected, and the brake.",
        ),
        "services": ("cli.services:services", "Show tenantbus's own processes."),
        "check": ("cli.check:check", "Look for errors in settings, packages and tenants."),
    },
    "Act": {
        "start": ("cli.request:start", "Start tenants."),
        "stop": ("cli.request:stop", "Stop tenants until they are started again."),
        "restart": ("cli.request:restart", "Replace the processes of tenants."),
        "service": ("cli.service:service", "Start, stop or restart one of tenantbus's own processes."),
    },
    "Set up": {
        "init": ("cli.init:init", "Make a starting point that works as it is."),
        "up": ("cli.up:up", "Run everything in the foreground."),
    },
}
COMMANDS = {name: command for commands in SECTIONS.values() for name, command in commands.items()}

CONFIG_HELP = "Settings file; default: $TENANTBUS_CONFIG, ./tenantbus.toml, /etc/tenantbus/tenantbus.toml."


def remember_config(context: click.Context, _: click.Parameter, file: str | None) -> None:
    if file:
        context.find_root().obj = file


def config_option() -> click.Option:
    return click.Option(
        ["-c", "--config"],
        metavar="FILE",
        help=CONFIG_HELP,
        expose_value=False,
        callback=remember_config,
    )


class LazyGroup(click.Group):
    """Knows its commands by name, and imports the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        if not any(option.name == "config" for option in command.params):
            command.params.append(config_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()], col_spacing=4)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[config_option()],
    epilog=examples(
        "bus init shop && cd shop && bus up     a first tenant, running",
        "bus ps                                 in another terminal: what runs",
        "bus tail --since 10m                   what happened",
        "bus why first                          and why",
    )
    + f"\n\n{EXIT_CODES}",
)
@click.version_option(package_name="tenantbus", message="tenantbus %(version)s")
def bus() -> None:
    """Keep one process per customer served."""


def main() -> int:
    """Run the command line; gives the exit code, and never a traceback for what a person can put right."""
    try:
        code = bus.main(prog_name="bus", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "bus"
        return complain(f"{error.format_message().rstrip('.')}; see `{command} --help`", USAGE)
    except click.ClickException as error:
        return complain(error.format_message(), error.exit_code)
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_DONE
    except BusUnavailableError as error:
        return complain(error, NO_BUS)
    except BusError as error:
        return complain(error, SETTINGS)
    except OSError as error:
        return complain(error, NOT_DONE)
    return code if isinstance(code, int) else DONE


def complain(error: Exception | str, exit_code: int) -> int:
    print(f"bus: {error}", file=sys.stderr)
    return exit_code
