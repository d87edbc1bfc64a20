"""Sees whether a release can be started, as far as that can be told without importing or starting it."""

import ast
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from bus import toml
from bus.errors import FileError
from bus.model import PackageSettings


def check_start(release: Path, file: Path, content: bytes, package: PackageSettings) -> None:
    """Look for the interpreter, and for the entry or the command, of a release; raises FileError."""

    def wrong(key: str, reason: str) -> FileError:
        return FileError(file, reason, key=key, line=toml.locate(content.decode(), key))

    if package.python and not os.access(release / package.python, os.X_OK):
        raise wrong("python", f"{release / package.python} is no program")
    if package.command and not _is_program(release, package.command[0]):
        raise wrong("command", f"there is no program {package.command[0]!r}")
    if package.entry:
        reason = _lack(release, package.entry, own_python=package.python is not None)
        if reason:
            raise wrong("entry", reason)


def _is_program(release: Path, name: str) -> bool:
    if "{" in name:  # filled in at the start
        return True
    return shutil.which(name) is not None or os.access(release / name, os.X_OK)


def _lack(release: Path, entry: str, *, own_python: bool) -> str:
    """Tell why an entry cannot be found, "" if nothing speaks against it."""
    module, _, function = entry.partition(":")
    top, *below = module.split(".")
    if not any((release / name).exists() for name in (top, f"{top}.py")):
        # not in the release itself: perhaps installed, which is for the release's own interpreter to know
        return "" if own_python or find_spec(top) else f"there is no module {top!r} in {release}"
    place = release.joinpath(top, *below)
    for source in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
        if source.is_file():
            return _lack_in(source, function)
    return f"there is no module {module!r} in {release}"


def _lack_in(source: Path, function: str) -> str:
    try:
        tree = ast.parse(source.read_bytes(), source)
    except SyntaxError as error:
        return f"{source}:{error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return f"{source}: {error}"
    names = {name for node in ast.walk(tree) for name in _names(node)}
    if function in names or "*" in names or "__getattr__" in names:
        return ""
    return f"{source} has no {function}"


def _names(node: ast.AST) -> list[str]:
    """Tell what a statement may define, wherever it stands."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Name(ctx=ast.Store()):
            return [node.id]
        case ast.Import() | ast.ImportFrom():
            return [alias.asname or alias.name for alias in node.names]
        case _:
            return []
