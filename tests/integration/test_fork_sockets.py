"""The sockets of tenants: one path and one port for ever, and never a stranger's."""

import os
import socket
from pathlib import Path

import psutil
import pytest

from bus.settings import load
from services.reactor.actions import SpawnFailed
from services.reactor.sockets import ClaimedError, ListeningSockets, SocketError
from tests.harness import free_ports
from tests.integration.forking import run, stage

PORT = free_ports(10)


@pytest.fixture
def held(short_dir: Path) -> ListeningSockets:
    (short_dir / "tenantbus.toml").write_text(f"[tenants]\nport_range = [{PORT}, {PORT + 2}]\n")
    settings = load(short_dir / "tenantbus.toml")
    settings.prepare()
    for tenant in ("acme", "bolt", "core", "dome"):
        (short_dir / "tenants" / tenant / "run").mkdir(parents=True)
    return ListeningSockets(settings)


def take(held: ListeningSockets, tenant: str) -> int:
    return held.open(tenant, listen_on_port=True, needs_port=False).port


def test_a_port_is_kept_over_restarts(held: ListeningSockets, short_dir: Path) -> None:
    assert (take(held, "acme"), take(held, "bolt")) == (PORT, PORT + 1)
    held.close()
    again = ListeningSockets(load(short_dir / "tenantbus.toml"))
    again.read_claims()
    assert (take(again, "core"), take(again, "bolt"), take(again, "acme")) == (PORT + 2, PORT + 1, PORT)
    with pytest.raises(SocketError, match=f"no port is free in tenants.port_range, {PORT} to {PORT + 2}"):
        take(again, "dome")
    again.forget("bolt")
    assert take(again, "dome") == PORT + 1
    again.close()


def test_of_two_that_claim_a_port_the_older_keeps_it(held: ListeningSockets, short_dir: Path) -> None:
    for tenant in ("bolt", "acme"):
        (short_dir / "tenants" / tenant / "run/port").write_text(f"{PORT + 1}\n")
        os.sync()
    held.read_claims()
    with pytest.raises(
        ClaimedError, match=f"acme/run/port: port {PORT + 1} is that of bolt, whose file is older"
    ):
        take(held, "acme")
    assert take(held, "bolt") == PORT + 1
    (short_dir / "tenants/acme/run/port").unlink()
    assert take(held, "acme") == PORT
    assert (short_dir / "tenants/acme/run/port").read_text() == f"{PORT}\n"
    held.close()


def test_a_port_falls_to_who_claims_it_when_its_owner_is_deleted(
    held: ListeningSockets, short_dir: Path
) -> None:
    assert take(held, "bolt") == PORT
    (short_dir / "tenants/acme/run/port").write_text(f"{PORT}\n")
    with pytest.raises(ClaimedError):
        take(held, "acme")
    held.forget("bolt")
    assert take(held, "acme") == PORT
    held.close()


@pytest.mark.parametrize("text", ["", "x", "80", "999999", f"-{PORT}", "\xff"])
def test_a_port_file_is_not_believed(
    held: ListeningSockets, short_dir: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (short_dir / "tenants/acme/run/port").write_text(text)
    held.read_claims()
    assert take(held, "acme") == PORT
    assert f"acme/run/port: is no port from {PORT} to {PORT + 2}: acme gets a new one" in caplog.text
    held.close()


def test_a_stranger_on_a_port(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir, PORT) as here:
            with socket.socket() as stranger:
                stranger.bind(("127.0.0.1", PORT))
                stranger.listen()
                spawned = await here.start("acme")
                assert spawned.port == PORT + 1
                pinned = short_dir / "tenants/bolt/run/port"
                pinned.parent.mkdir(parents=True)
                pinned.write_text(f"{PORT}\n")
                here.ask("bolt")
                failed = await here.told(SpawnFailed, "bolt")
                ours = f"pid {os.getpid()} ({psutil.Process().name()})"
                said, _, advice = failed.reason.partition("; ")
                assert said == f"port {PORT}: Address already in use, {ours} has it"
                assert advice == f"it gets another port when {pinned} is removed"
                assert not failed.never
                pinned.unlink()
                assert (await here.start("bolt")).port == PORT + 2
                pinned = short_dir / "tenants/core/run/port"
                pinned.parent.mkdir(parents=True)
                pinned.write_text(f"{PORT}\n")
                here.ask("core")
                await here.told(SpawnFailed, "core")
            assert (await here.start("core")).port == PORT

    run(test())


def test_a_stranger_on_the_unix_socket(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir, PORT) as here:
            path = here.settings.http_socket("acme")
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.bind(str(path))
                stranger.listen()
                here.ask("acme")
                assert "another process listens" in (await here.told(SpawnFailed, "acme")).reason
            await here.start("acme")  # what is left of a dead socket is no obstacle
            assert path.stat().st_mode & 0o777 == 0o666
            assert path.parent.stat().st_mode & 0o777 == 0o700

    run(test())
