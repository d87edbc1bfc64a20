from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, bus


def command(name: str) -> click.Command:
    found = bus.get_command(click.Context(bus), name)
    assert found
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_says_what_each_says_of_itself(name: str) -> None:
    assert command(name).get_short_help_str(100) == COMMANDS[name][1]
    assert command(name).name == name
    module, _, attribute = COMMANDS[name][0].partition(":")
    assert getattr(import_module(module), attribute) is command(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_that_runs_that_command(name: str) -> None:
    done = CliRunner().invoke(bus, [name, "--help"])
    assert done.exit_code == 0
    _, _, examples = done.output.partition("Examples:")
    assert f"bus {name}" in examples or f" {name}" in examples


@pytest.mark.parametrize("name", COMMANDS)
def test_the_settings_file_may_be_named_after_the_command_too(name: str) -> None:
    assert "--config" in CliRunner().invoke(bus, [name, "--help"]).output
    options = [option.name for option in command(name).params]
    assert options.count("config") == 1


def test_help_tells_commands_in_sections_and_exit_codes() -> None:
    output = CliRunner().invoke(bus, ["--help"]).output
    for text in ("Look:", "Act:", "Set up:", "Exit codes:", *COMMANDS):
        assert text in output


@pytest.mark.parametrize(
    ("typed", "hint"), [("pss", "did you mean `ps`?"), ("restrat", "did you mean `restart`?"), ("xyzzy", "")]
)
def test_a_wrong_name_gets_a_near_one(typed: str, hint: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        bus.main([typed], standalone_mode=False)
    assert typed in str(caught.value)
    assert hint in str(caught.value)
    assert ("did you mean" in str(caught.value)) is bool(hint)


@pytest.mark.parametrize(
    "arguments",
    [
        ["start"],
        ["start", "--timeout", "-1", "acme"],
        ["why"],
        ["service", "restart"],
        ["tail", "--since", "yesterday"],
        ["tail", "--type", "NO_SUCH"],
        ["ps", "--no-such-option"],
        ["init"],
    ],
)
def test_wrong_usage_is_said_before_anything_is_done(arguments: list[str]) -> None:
    done = CliRunner().invoke(bus, arguments)
    assert done.exit_code == 2
