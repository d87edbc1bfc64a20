"""Draws the reference of the command from click's own knowledge of it."""

from collections.abc import Iterator

import click


def commands(root: click.Command) -> str:
    parts = ["# The command `bus`", "", "What `bus COMMAND --help` says, in one place.", ""]
    for name, context in _walk(root, "bus", None):
        parts += [f"## {name}", "", "```text", _help(context), "```", ""]
    return "\n".join(parts)


def _help(context: click.Context) -> str:
    formatter = click.HelpFormatter(width=100)
    context.command.format_help(context, formatter)
    return formatter.getvalue().rstrip()


def _walk(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, click.Context]]:
    context = click.Context(
        command, info_name=name.rpartition(" ")[2], parent=parent, **command.context_settings
    )
    yield name, context
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found and not found.hidden:
                yield from _walk(found, f"{name} {sub}", context)
