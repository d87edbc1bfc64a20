"""Makes the application ready to be forked: warms tornado up, imports the entry, freezes the heap."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from . import page

MakeApp = Callable[[Any], Any]

GET = "GET {} HTTP/1.1\r\nHost: warm\r\n\r\n"
POST = "POST / HTTP/1.1\r\nHost: warm\r\nContent-Length: 3\r\nContent-Type: {}\r\n\r\na=b"
REQUESTS = (
    GET.format("/"),
    GET.format("/none"),
    GET.format("/-/identity"),
    POST.format("application/x-www-form-urlencoded"),
)


class BrokenError(Exception):
    """The release cannot run as it is: no use to try again."""


def load(path: str, entry: str) -> MakeApp:
    """Import "module:callable" with `path` first on sys.path; raises BrokenError with the place."""
    module_name, _, name = entry.partition(":")
    sys.path.insert(0, path)
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:  # the application's code may raise anything, SystemExit as well
        traceback.print_exc()
        raise BrokenError(f"{entry} cannot be imported: {explain(error, path)}") from error
    make_app = getattr(module, name, None)
    if not callable(make_app):
        raise BrokenError(f"{entry}: {module.__file__} has no callable {name!r}")
    return make_app  # type: ignore[no-any-return]  # an application is not ours to type


def explain(error: BaseException, path: str) -> str:
    """Put an exception into one line, with the last place in the application that led to it."""
    line = traceback.format_exception_only(type(error), error)[-1].strip()
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    own = [place for place in places if place[0].startswith(path + os.sep)]
    return f"{line} ({own[-1][0]}:{own[-1][1]})" if own else line


def has_threads() -> bool:
    return threading.active_count() > 1


def freeze() -> None:
    """Move all there is out of the garbage collector's sight: what it looks at, it would also copy."""
    gc.collect()
    gc.freeze()


def warm_up() -> None:
    """Serve a few requests to a tiny application of our own, so that tenants need not load what it takes.

    Raises BrokenError when the interpreter has no usable tornado.
    """
    try:
        exercise = importlib.import_module(".warm", __package__).exercise
        selector = importlib.import_module(".serving", __package__).ScoringSelector
    except ImportError as error:
        raise BrokenError(f"{sys.executable} cannot serve: {error}") from error
    loop = asyncio.SelectorEventLoop(selector(page.scratch()))
    asyncio.set_event_loop(loop)
    try:
        with listening() as listener:
            loop.run_until_complete(exercise(listener, REQUESTS))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """Listen at a name that the kernel chooses and that nobody else knows (unix(7))."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen()
        listener.setblocking(False)
        yield listener
