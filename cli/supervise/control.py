"""Asks a running `bus up` about its services, and answers: one line of JSON each way (ADR-0007)."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from bus.settings import Settings
from cli.view import ServiceRow

Verb = Literal["list", "start", "stop", "restart"]

LARGEST = 64 * 1024
PATIENCE = 5.0
"""Seconds that somebody who connects has to say what they want."""


class Ask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    verb: Verb
    service: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    services: list[ServiceRow] = []
    error: str = ""


class NotRunningError(Exception):
    """There is no `bus up` on this directory."""


def path(settings: Settings) -> Path:
    return settings.run_dir / "up.sock"


async def listen(at: Path, answer: Callable[[Ask], Awaitable[Answer]]) -> asyncio.Server:
    """Answer on the socket `at`, for our own user only, until the server is closed."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PATIENCE):
                line = await reader.readuntil(b"\n")
            writer.write(msgspec.json.encode(await _answer(line, answer)) + b"\n")
            await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(converse, sock=_bind(at), limit=LARGEST)


def _bind(at: Path) -> socket.socket:
    at.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        bound.bind(os.fspath(at))
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    return bound


async def _answer(line: bytes, answer: Callable[[Ask], Awaitable[Answer]]) -> Answer:
    try:
        ask = msgspec.json.decode(line, type=Ask)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Answer(error=f"not understood: {error}")
    return await answer(ask)


def request(settings: Settings, ask: Ask, within: float) -> Answer:
    """Ask the `bus up` of this directory; raises NotRunningError, or TimeoutError after `within` seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(within)
        try:
            connection.connect(os.fspath(path(settings)))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunningError from None
        connection.sendall(msgspec.json.encode(ask) + b"\n")
        with connection.makefile("rb") as answers:
            line = answers.readline()
    if not line.endswith(b"\n"):  # it ended meanwhile
        raise NotRunningError
    return msgspec.json.decode(line, type=Answer)
