"""HTTP checks against real servers on unix sockets, well-behaved and not."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.dispatcher.http_check import CheckFailedError, get
from tests.harness import DEADLINE

Talk = Callable[[socket.socket], Awaitable[None]]


def ask(path: Path, talk: Talk) -> int:
    """Serve one connection by `talk`, and ask it."""

    async def serve(listener: socket.socket) -> None:
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        with connection:
            await talk(connection)

    async def serve_and_ask() -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
            listener.bind(str(path))
            listener.listen()
            server = asyncio.create_task(serve(listener))
            try:
                async with asyncio.timeout(DEADLINE):
                    return (await get(path, "acme", "/healthz")).status
            finally:
                server.cancel()
                await asyncio.gather(server, return_exceptions=True)

    return asyncio.run(serve_and_ask())


async def request(connection: socket.socket) -> bytes:
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += await asyncio.get_running_loop().sock_recv(connection, 4096)
    return heard


def says(*chunks: bytes) -> Talk:
    async def talk(connection: socket.socket) -> None:
        await request(connection)
        for chunk in chunks:
            await asyncio.get_running_loop().sock_sendall(connection, chunk)
            await asyncio.sleep(0.01)

    return talk


@pytest.mark.parametrize("status", [200, 404, 503])
def test_gives_the_status(short_dir: Path, status: int) -> None:
    answer = f"HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok".encode()
    assert ask(short_dir / "s", says(answer)) == status


def test_an_answer_in_pieces(short_dir: Path) -> None:
    assert ask(short_dir / "s", says(b"HTT", b"P/1.0 20", b"0\r", b"\n\r", b"\n")) == 200


def test_asks_as_a_browser_would(short_dir: Path) -> None:
    heard: list[bytes] = []

    async def talk(connection: socket.socket) -> None:
        heard.append(await request(connection))
        await asyncio.get_running_loop().sock_sendall(connection, b"HTTP/1.1 204 No Content\r\n\r\n")

    assert ask(short_dir / "s", talk) == 204
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "GET /healthz HTTP/1.1"
    assert {"Host: acme", "Connection: close"} <= set(lines)


def test_a_server_that_keeps_the_connection_has_answered(short_dir: Path) -> None:
    async def talk(connection: socket.socket) -> None:
        await says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(connection)
        await asyncio.sleep(DEADLINE)

    assert ask(short_dir / "s", talk) == 200


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 100_000])
def test_what_is_no_http_fails(short_dir: Path, answer: bytes) -> None:
    with pytest.raises(CheckFailedError, match="no HTTP"):
        ask(short_dir / "s", says(answer))


def test_silence_until_the_end_fails(short_dir: Path) -> None:
    with pytest.raises(CheckFailedError, match="closed without an answer"):
        ask(short_dir / "s", says())


def test_nobody_listens(short_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(short_dir / "s"))
    with pytest.raises(CheckFailedError, match="refused"):
        asyncio.run(get(short_dir / "s", "acme", "/"))
    with pytest.raises(CheckFailedError, match="No such file"):
        asyncio.run(get(short_dir / "none", "acme", "/"))


def test_a_full_queue_of_connections_is_no_connection(short_dir: Path) -> None:
    path = str(short_dir / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(CheckFailedError, match="queue is full"):
            asyncio.run(get(Path(path), "acme", "/"))
