"""nginx in front of real tenants: what their customers see of crashes, restarts and changes."""

import asyncio
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests import arrivals
from tests.arrivals import Outcome
from tests.harness import DEADLINE, eventually
from tests.system.fronted import Site
from tests.visitors import Visitors


def test_restarts_under_load_fail_nobody(site: Site) -> None:
    """wrk counts what is not 2xx, and what broke off."""
    load = subprocess.Popen(
        [
            "wrk",
            *("-t1", "-c8", "-d5s", "--timeout", f"{DEADLINE:g}s", "-H", f"Host: {site.host('acme')}"),
            f"http://127.0.0.1:{site.front.port}/",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    pids = set()
    for _ in range(5):
        site.deployment.bus("restart", "acme")
        pids.add(site.ask("acme")[1])
    said, _ = load.communicate(timeout=DEADLINE)
    assert len(pids) == 5
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    asked = re.search(r"(\d+) requests in", said)
    assert asked, said
    assert int(asked[1]) > 100


def test_restarts_under_posts_fail_nobody(site: Site) -> None:
    with Visitors.posting(site.front.port, site.host("acme")) as visitors:
        for _ in range(3):
            visitors.after(lambda: site.deployment.bus("restart", "acme"))
    assert set(visitors.statuses()) == {200}, visitors.statuses()


def test_killed_under_gets_fails_nobody(site: Site) -> None:
    with Visitors.getting(site.front.port, site.host("acme")) as visitors:
        for _ in range(5):
            visitors.after(lambda: site.crash("acme"))
    assert set(visitors.statuses()) == {200}, visitors.statuses()
    assert len({answer.body for answer in visitors.answers}) == 6


def test_killed_under_posts_carries_none_out_twice(site: Site) -> None:
    number, kills = 8, 3
    file = site.deployment.directory / "tenants" / "acme" / "counted"
    file.unlink(missing_ok=True)
    with Visitors.posting(site.front.port, site.host("acme"), number) as visitors:
        for _ in range(kills):
            visitors.after(lambda: site.crash("acme"))
    counted = file.read_text().split()
    assert len(counted) == len(set(counted))
    assert set(visitors.statuses()) <= {200, 502}
    failed = [answer for answer in visitors.answers if answer.status != 200]
    assert 0 < len(failed) <= kills * number
    assert all("may have been carried out or not" in answer.body for answer in failed)
    assert {answer.body for answer in visitors.answers if answer.status == 200} <= set(counted)


class Slowly:
    """A visitor who asks for what takes until `let_go`; the answer is there when the block is left."""

    def __init__(self, site: Site, method: str) -> None:
        self.directory = site.deployment.directory / "tenants" / "acme"
        for name in ("begun", "go"):
            (self.directory / name).unlink(missing_ok=True)
        self.answer: tuple[int, str, dict[str, str]]
        self._thread = threading.Thread(target=self._ask, args=(site, method))

    def _ask(self, site: Site, method: str) -> None:
        self.answer = site.ask("acme", "/slow", method)

    def let_go(self) -> None:
        (self.directory / "go").touch()

    def begun(self) -> list[str]:
        with suppress(FileNotFoundError):
            return (self.directory / "begun").read_text().split()
        return []

    def __enter__(self) -> Self:
        self._thread.start()
        eventually(self.begun)
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._thread.join(DEADLINE)


def test_a_long_request_is_finished_by_the_process_that_began_it(site: Site) -> None:
    before = site.ask("acme")[1]
    with Slowly(site, "POST") as visitor:
        site.deployment.bus("restart", "acme")
        eventually(lambda: site.ask("acme")[1] != before)
    assert visitor.answer[:2] == (200, before)
    assert visitor.begun() == ["POST"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_a_request_whose_process_dies_is_asked_again_only_if_that_is_harmless(
    site: Site, method: str
) -> None:
    again = method in ("GET", "HEAD", "OPTIONS")
    with Slowly(site, method) as visitor:
        site.crash("acme")
        if again:
            eventually(lambda: len(visitor.begun()) == 2)
    status, page, _ = visitor.answer
    assert status == (200 if again else 502)
    assert again or "may have been carried out or not" in page
    assert visitor.begun() == [method] * (2 if again else 1)


def test_an_upload_that_is_half_sent_goes_on_over_a_restart(site: Site) -> None:
    for address in (site.front.port, site.deployment.directory / "var" / "run" / "http" / "acme.sock"):
        before = site.ask("acme")[1]
        body = b"x" * 200_000
        with _connected(address) as upload:
            head = f"POST /slow HTTP/1.1\r\nHost: {site.host('acme')}\r\nContent-Length: {len(body)}\r\n"
            upload.sendall(f"{head}Connection: close\r\n\r\n".encode() + body[:100_000])
            site.deployment.bus("restart", "acme")
            eventually(lambda before=before: site.ask("acme")[1] != before)  # type: ignore[misc]
            upload.sendall(body[100_000:])
            answer = b"".join(iter(lambda: upload.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(body)


def _connected(address: Path | int) -> socket.socket:
    if isinstance(address, int):
        return socket.create_connection(("127.0.0.1", address), timeout=DEADLINE)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(str(address))
    return connection


def kill(pid: int) -> tuple[float, float]:
    """Kill a process; gives the moments between which it died."""
    pidfd = os.pidfd_open(pid)
    sent = time.monotonic()
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [], DEADLINE)
    os.close(pidfd)
    return sent, time.monotonic()


@pytest.mark.parametrize("through", ["nginx", "its socket"])
def test_nobody_who_comes_after_a_kill_notices_it(site: Site, through: str) -> None:
    direct = site.deployment.directory / "var" / "run" / "http" / "acme.sock"
    killed: list[tuple[float, float]] = []

    def kills() -> None:
        for _ in range(5):
            pid = site.ask("acme")[1]
            killed.append(kill(int(pid)))
            eventually(lambda pid=pid: site.ask("acme")[1] not in ("", pid))  # type: ignore[misc]

    address = site.front.port if through == "nginx" else direct
    visits = arrivals.during(kills, address)
    failed = [visit for visit in visits if visit.outcome is not Outcome.ANSWERED]
    in_flight = [
        visit for visit in failed if any(visit.began <= gone and visit.ended >= sent for sent, gone in killed)
    ]
    assert failed == ([] if through == "nginx" else in_flight)
    assert all(visit.outcome is Outcome.FAILED for visit in failed)
    assert len(visits) > 100


def test_changed_settings_under_load_fail_nobody(site: Site) -> None:
    with Visitors.getting(site.front.port, site.host("acme")) as visitors:
        for mood in ("glad", "sad", ""):
            site.settings("acme", mood)
            eventually(lambda mood=mood: re.fullmatch(rf"{mood}\d+", site.ask("acme")[1]))  # type: ignore[misc]
    assert set(visitors.statuses()) == {200}, visitors.statuses()


def test_websockets_are_told_to_come_again_when_their_process_is_replaced(site: Site) -> None:
    async def talk() -> object:
        headers = {"Host": site.host("acme"), "Origin": f"http://{site.host('acme')}"}
        url = f"ws://127.0.0.1:{site.front.port}/echo"
        async with asyncio.timeout(DEADLINE):
            connection = await websocket_connect(HTTPRequest(url, headers=headers))
            await connection.write_message("hello")
            assert await connection.read_message() == "hello"
            await asyncio.to_thread(site.deployment.bus, "restart", "acme")
            assert await connection.read_message() is None
            connection.close()
        return connection.close_code

    assert asyncio.run(talk()) == 1001


def test_after_a_power_cut_all_is_as_it_was(site: Site) -> None:
    site.deployment.add("resting", text='package = "shop"\n')
    eventually(lambda: site.ask("resting")[0] == 200)
    site.deployment.bus("stop", "resting")
    eventually(lambda: site.is_unavailable("resting"))
    assert site.deployment.up
    site.deployment.up.kill()
    for pid in site.deployment.leftovers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not site.deployment.leftovers())
    shutil.rmtree(site.deployment.directory / "var" / "run")
    assert site.is_unavailable("acme")
    site.deployment.start()
    eventually(lambda: site.ask("acme")[0] == 200)
    assert site.is_unavailable("resting")
    assert site.ask("nobody")[0] == 404
