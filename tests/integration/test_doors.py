"""What nginx is told of tenants by a reactor with real processes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from bus.events import (
    ProcFatal,
    ProcReady,
    ProcStopped,
    ProcWaiting,
    StartRequested,
    StopRequested,
    UserDeleted,
    UserInvalid,
)
from tests.harness import DEADLINE, eventually_async
from tests.integration.stage import Stage, stage


def play(directory: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        async with stage(directory) as one:
            await scene(one)

    asyncio.run(main())


def files(one: Stage, name: str) -> set[str]:
    found = (one.settings.run_dir / "http").glob(f"{name}.*")
    return {file.suffix.lstrip(".") for file in found}


async def shows(one: Stage, name: str, *expected: str) -> None:
    await eventually_async(lambda: files(one, name) == set(expected))


async def visit(one: Stage, name: str) -> bytes:
    """Connect and wait for whatever comes; b"" when it is turned away."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_unix_connection(one.settings.http_socket(name))
        try:
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


def test_a_stopped_tenant_is_shut_until_it_is_started(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        await shows(one, "acme", "sock", "known")
        one.bus.publish(StopRequested(tenant="acme", by="test"))
        seq, _ = await one.said(ProcStopped, "acme")
        await shows(one, "acme", "sock", "known", "down")
        one.bus.publish(StartRequested(tenant="acme", by="test"))
        await one.said(ProcReady, "acme", after=seq)
        await shows(one, "acme", "sock", "known")

    play(short_dir, scene)


def test_who_waits_for_a_tenant_that_becomes_fatal_is_turned_away(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin()
        one.add("acme", mood="crash")
        await shows(one, "acme", "sock", "known")
        visitor = asyncio.create_task(visit(one, "acme"))
        await one.said(ProcFatal, "acme")
        assert await visitor == b""
        await shows(one, "acme", "sock", "known", "down")
        one.modify("acme")
        await one.said(ProcReady, "acme")
        await shows(one, "acme", "sock", "known")
        assert (await visit(one, "acme")).startswith(b"HTTP/1.1 200")

    play(short_dir, scene)


def test_without_a_database_it_is_shut(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        one.down("db1", "db2")
        seq, _ = await one.said(ProcWaiting, "acme")
        await shows(one, "acme", "sock", "known", "down")
        one.up("db2")
        await one.said(ProcReady, "acme", after=seq)
        await shows(one, "acme", "sock", "known")

    play(short_dir, scene)


def test_a_deleted_tenant_is_unknown(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        one.bus.publish(UserDeleted(tenant="acme"))
        await shows(one, "acme")

    play(short_dir, scene)


def test_a_new_tenant_with_wrong_settings_is_known_and_shut(short_dir: Path) -> None:
    wrong = UserInvalid(tenant="acme", file="/t/acme/tenant.toml", key="plan", line=3, reason="no", stamp="s")

    async def scene(one: Stage) -> None:
        await one.begin()
        one.bus.publish(wrong)
        await shows(one, "acme", "known", "down")
        one.add("acme")
        await one.said(ProcReady, "acme")
        one.bus.publish(wrong)
        one.bus.publish(UserDeleted(tenant="other"))
        await shows(one, "acme", "sock", "known")
        assert files(one, "other") == set()
        one.bus.publish(UserDeleted(tenant="acme"))
        await shows(one, "acme")
        assert (one.settings.run_dir / "http" / "complete").exists()

    play(short_dir, scene)
