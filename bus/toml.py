"""Reads a TOML file that a person wrote into a checked type; every error names file, key, line and reason."""

import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bus.errors import FileError

T = TypeVar("T")


def read(file: Path, shape: type[T]) -> T:
    """Read `file` as `shape`.

    Raises FileError when the file cannot be read, is no TOML, or does not fit the shape.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(file, f"is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise FileError(file, error.strerror or str(error)) from error
    return parse(file, text, shape)


def parse(file: Path, text: str, shape: type[T]) -> T:
    """Read the text of `file` as `shape`; raises FileError as `read` does."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, line = _syntax(str(error))
        raise FileError(file, reason, line=line or text.count("\n") + 1) from None
    try:
        return msgspec.convert(values, shape, strict=True)
    except msgspec.ValidationError as error:
        key, reason = _explain(str(error))
        raise FileError(file, reason, key=key, line=locate(text, key, values)) from None


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
    return key, reason


def locate(text: str, key: str, values: dict[str, Any]) -> int:
    """Tell the line, counted from 1, where a dotted key stands; 0 when it stands nowhere.

    A key that msgspec could only name "[...]" (inside a map) is found by its table.
    """
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
    return best if values else 0
