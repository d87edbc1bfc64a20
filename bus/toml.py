"""Reads a TOML file that a person wrote into a checked type; every error names file, key, line and reason."""

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from bus import regular
from bus.errors import FileError

T = TypeVar("T")

WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
"""What msgspec's names of types are called in docs/settings.md."""


def read(file: Path, shape: type[T]) -> T:
    """Read `file` as `shape`.

    Raises FileError when the file cannot be read, is no TOML, or does not fit the shape.
    """
    return parse(file, regular.read_text(file), shape)


def parse(file: Path, text: str, shape: type[T]) -> T:
    """Read the text of `file` as `shape`; raises FileError as `read` does."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, line = _syntax(str(error))
        raise FileError(file, reason, line=line or text.count("\n") + 1) from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of thousands of digits, lists in lists without end
        raise FileError(file, f"cannot be read: {error}") from None
    try:
        return msgspec.convert(values, shape, strict=True)
    except msgspec.ValidationError as error:
        key, reason = _explain(str(error))
        if "[...]" in key:
            key = _name_entry(key, values, shape)
        if reason.startswith("Invalid enum value"):
            reason = f"{reason}; {_choices(shape, key)}"
        elif " matching regex " in reason:
            reason = _form(shape, key) or reason
        else:
            reason = _in_words(reason)
        raise FileError(file, reason, key=key, line=locate(text, key)) from None


def _syntax(message: str) -> tuple[str, int]:
    """Split tomllib's "... (at line 3, column 5)" into reason and line."""
    found = re.search(r"^(.*) \(at line (\d+), column \d+\)$", message)
    if found:
        return found[1], int(found[2])
    return message.removesuffix(" (at end of document)"), 0


def _explain(message: str) -> tuple[str, str]:
    """Split msgspec's "Expected `int`, got `str` - at `$.a.b`" into dotted key and reason."""
    reason, _, place = message.partition(" - at `$")
    key = place.rstrip("`").removeprefix(".")
    unknown = re.search(r"unknown field `(.+)`$", reason)
    if unknown:
        return ".".join(filter(None, (key, unknown[1]))), "unknown key"
    missing = re.search(r"missing required field `(.+)`$", reason)
    if missing:
        return ".".join(filter(None, (key, missing[1]))), "is missing"
    own = re.match(r"([a-z_][\w.-]*): (.+)$", reason)  # raised by a shape's __post_init__
    if own:
        return ".".join(filter(None, (key, own[1]))), own[2]
    return key, reason


def _in_words(reason: str) -> str:
    """Say "should be a list, and is text" where msgspec says "Expected `array | null`, got `str`"."""

    def word(names: str) -> str:
        return " or ".join(WORDS.get(name, name) for name in names.split(" | ") if name != "null")

    found = re.match(r"Expected `([^`]+)`(.*)$", reason)
    if not found:
        return reason
    rest = re.sub(r", got `([^`]+)`", lambda got: f", and is {word(got[1])}", found[2])
    return f"should be {word(found[1])}{rest}"


def _form(shape: type[object], key: str) -> str:
    """Tell what the text at a dotted key should look like; "" when nobody has said.

    What it is instead may be a secret.
    """
    examples = [
        repr(example)
        for kind in _kinds(shape, key)
        if isinstance(kind, inspect.Metadata)
        for example in (kind.extra_json_schema or {}).get("examples", ())
    ]
    return f"does not look like {' or '.join(examples)}" if examples else ""


def _choices(shape: type[object], key: str) -> str:
    """Tell what may stand at a dotted key, of a type that has a few values only."""
    words = [repr(value) for kind in _kinds(shape, key) for value in getattr(kind, "values", ())]
    return f"it may be {' or '.join(words)}"


def _kinds(shape: type[object], key: str) -> tuple[Any, ...]:
    """Give the types that a dotted key may have."""
    found: Any = inspect.type_info(shape)
    for part in key.split("."):
        fields = {field.encode_name: field.type for field in getattr(found, "fields", ())}
        found = fields.get(part, getattr(found, "value_type", None))
    return found.types if isinstance(found, inspect.UnionType) else (found,)


def _name_entry(key: str, values: dict[str, Any], shape: type[object]) -> str:
    """Put the name of a map's bad entry, which msgspec tells as "[...]", into the key."""
    before, _, after = key.partition("[...]")
    entries: Any = values
    for part in before.split("."):
        if part not in entries:  # a key that is really named so
            return key
        entries = entries[part]
    for name in list(entries):
        value = entries.pop(name)
        try:
            msgspec.convert(values, shape, strict=True)
        except msgspec.ValidationError:
            entries[name] = value
        else:
            return f"{before}.{name}{after}"
    return f"{before}.{next(iter(entries))}{after}"  # several are bad: name the first


def locate(text: str, key: str) -> int:
    """Tell the line, counted from 1, where a dotted key or its table stands; 0 when neither does."""
    parts = [part for part in re.split(r"\.|\[.*?\]", key) if part]
    table = ""
    best = 0
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if header:
            table = header[1].replace('"', "")
        name = re.match(r"""\s*["']?([\w.-]+)["']?\s*=""", line)
        here = ".".join(filter(None, (table, name[1]))) if name else table if header else ""
        if here == ".".join(parts):
            return number
        if here and here.split(".") == parts[: len(here.split("."))]:
            best = number
    return best
