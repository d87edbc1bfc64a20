"""nginx in front of real tenants: what their customers see of crashes, restarts and changes."""

import asyncio
import http.client
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from examples.front import Front
from tests.harness import DEADLINE, eventually, free_port, short_directory
from tests.system.deployment import Deployment
from tests.visitors import Visitors

pytestmark = pytest.mark.skipif(
    not (Front.available() and shutil.which("wrk")) and "CI" not in os.environ,
    reason="no nginx or no wrk on this machine",
)

APPLICATION = """
import asyncio
import os
import sys

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


class Pid(RequestHandler):
    async def get(self, *_):
        await asyncio.sleep(0.005)
        self.write(os.environ.get("MOOD", "") + str(os.getpid()))


class Count(RequestHandler):
    async def post(self, number):
        with open("counted", "a") as file:
            file.write(number + "\\n")
        await asyncio.sleep(0.02)
        self.write(number)


class Seen(RequestHandler):
    def get(self):
        self.write({"host": self.request.host, "ip": self.request.remote_ip, "path": self.request.uri})


class Failing(RequestHandler):
    def get(self, status):
        self.set_status(int(status))
        self.write("the tenant's own")


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)


def make_app(tenant):
    if os.environ.get("MOOD") == "never":
        sys.exit(3)
    handlers = [("/", Pid), ("/healthz", Pid), ("/count/(.*)", Count), ("/seen", Seen)]
    return Application([*handlers, ("/own/(.*)", Failing), ("/echo", Echo), (r"/-/(.*)", Pid)])
"""


class Site:
    """A whole tenantbus, and an nginx in front of it."""

    def __init__(self, deployment: Deployment, front: Front) -> None:
        self.deployment, self.front = deployment, front

    def host(self, tenant: str) -> str:
        return f"{tenant}.localhost:{self.front.port}"

    def ask(self, tenant: str, path: str = "/", method: str = "GET") -> tuple[int, str, dict[str, str]]:
        return self.ask_host(self.host(tenant), path, method)

    def ask_host(self, host: str, path: str = "/", method: str = "GET") -> tuple[int, str, dict[str, str]]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=DEADLINE)) as asked:
            asked.request(method, path, headers={"Host": host})
            answer = asked.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())

    def processes(self) -> list[int]:
        assert self.front.process
        master = psutil.Process(self.front.process.pid)
        return [master.pid, *sorted(child.pid for child in master.children())]

    def crash(self, tenant: str) -> None:
        """Kill its process, and wait until another one answers."""
        before = self.deployment.pids()[tenant]
        os.kill(before, signal.SIGKILL)
        eventually(lambda: self.ask(tenant)[1] not in ("", str(before)))

    def settings(self, tenant: str, mood: str = "") -> str:
        env = f'[env]\nMOOD = "{mood}"\n' if mood else ""
        text = f'package = "shop"\n{env}'
        file = self.deployment.directory / "tenants" / tenant / "tenant.toml"
        if file.parent.exists():
            draft = file.with_name("tenant.new")
            draft.write_text(text)
            draft.replace(file)
        return text


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Deployment.made() as deployment, short_directory() as place:
        release = deployment.directory / "packages" / "shop" / "1.0"
        release.mkdir(parents=True)
        (release / "shop.py").write_text(APPLICATION)
        (release / "package.toml").write_text('entry = "shop:make_app"\n')
        with deployment.config.open("a") as config:
            config.write("\n[restart]\nstable_after = 0.1\n")
        front = Front(place, deployment.directory / "var" / "run" / "http", free_port())
        with front.running():
            site = Site(deployment, front)
            deployment.start()
            deployment.add("acme", text='package = "shop"\n')
            eventually(lambda: site.ask("acme")[0] == 200)
            began = site.processes()
            yield site
            assert site.processes() == began  # over all that the tests did: no reload


def test_the_shipped_configuration_is_correct_as_it_is(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "deploy" / "nginx" / "tenantbus.conf"
    main = tmp_path / "nginx.conf"
    main.write_text(f"pid {tmp_path}/pid; events {{}} http {{ include {shipped}; }}")
    command = Front(tmp_path, tmp_path, 0).command(main, "-t")
    verdict = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (verdict.returncode, re.findall(r"\[(?:warn|emerg)\].*", verdict.stderr)) == (0, []), (
        verdict.stderr
    )


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


def test_changed_settings_under_load_fail_nobody(site: Site) -> None:
    with Visitors.getting(site.front.port, site.host("acme")) as visitors:
        for mood in ("glad", "sad", ""):
            site.settings("acme", mood)
            eventually(lambda mood=mood: re.fullmatch(rf"{mood}\d+", site.ask("acme")[1]))  # type: ignore[misc]
    assert set(visitors.statuses()) == {200}, visitors.statuses()


def test_tenants_come_and_go_without_a_reload(site: Site) -> None:
    before = site.processes()
    assert site.ask("globex")[0] == 404
    site.deployment.add("globex", text='package = "shop"\n')
    eventually(lambda: site.ask("globex")[0] == 200)
    shutil.rmtree(site.deployment.directory / "tenants" / "globex")
    eventually(lambda: site.ask("globex")[0] == 404)
    assert site.processes() == before


@pytest.mark.parametrize(
    "host", ["nobody.localhost", "localhost", "127.0.0.1", "acme", "-acme.x", "a_b.x", "..", "acme..x"]
)
def test_a_host_of_nobody_is_told_so(site: Site, host: str) -> None:
    status, page, headers = site.ask_host(host)
    assert status == (400 if ".." in host else 404)
    if status == 404:
        assert "There is nothing here" in page
        assert "Retry-After" not in headers


@pytest.mark.parametrize("host", ["ACME.localhost", "acme.example.com:81", "acme.localhost."])
def test_the_first_label_is_the_tenant(site: Site, host: str) -> None:
    assert site.ask_host(host)[0] == 200


def unavailable(site: Site, tenant: str, method: str = "GET") -> bool:
    status, page, headers = site.ask(tenant, method=method)
    return (status, headers.get("Retry-After")) == (503, "5") and "Back in a moment" in page


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ('package = "shop"\nenv = { MOOD = "never" }\n', "FATAL"),
        ('package = "absent"\n', "WAITING"),
        ('package = "shop"\nstart = "manual"\n', "STOPPED"),
        ('package = "shop"\nplan = "precious"\n', "INVALID"),
    ],
)
def test_a_tenant_that_cannot_answer_says_so_at_once(site: Site, text: str, state: str) -> None:
    name = state.lower()
    site.deployment.add(name, text=text)
    eventually(lambda: unavailable(site, name) and site.deployment.ps()[name]["state"] == state, every=0.2)
    assert unavailable(site, name, "POST")
    site.settings(name)
    site.deployment.bus("start", name, code=None)
    eventually(lambda: site.ask(name)[0] == 200)
    shutil.rmtree(site.deployment.directory / "tenants" / name)
    eventually(lambda: site.ask(name)[0] == 404)


def test_a_tenant_stopped_by_hand_says_so_until_it_is_started(site: Site) -> None:
    site.deployment.bus("stop", "acme")
    eventually(lambda: unavailable(site, "acme"))
    site.deployment.bus("start", "acme")
    eventually(lambda: site.ask("acme")[0] == 200)


@pytest.mark.parametrize("path", ["/-/", "/-/secret", "/%2d/x", "//-/x", "/a/../-/x", "/./-/x", "/%2F-/x"])
def test_what_tenants_tell_about_themselves_is_hidden(site: Site, path: str) -> None:
    assert site.ask("acme", path)[0] == 404
    assert site.deployment.get("acme", "/-/secret") == 200


@pytest.mark.parametrize("status", [404, 418, 500, 502, 503, 504])
def test_answers_of_tenants_are_passed_on_as_they_are(site: Site, status: int) -> None:
    assert site.ask("acme", f"/own/{status}")[:2] == (status, "the tenant's own")


def test_pages_of_nginx_cannot_be_asked_for(site: Site) -> None:
    for path in ("/tenantbus-pages/unknown.html", "/tenantbus-pages/retry/unavailable.html"):
        assert site.ask("acme", path)[0] == 404


def test_tenants_learn_who_asked_for_what(site: Site) -> None:
    seen = site.ask("acme", "/seen?a=%2F")[1]
    assert f'"host": "{site.host("acme")}"' in seen
    assert '"ip": "127.0.0.1"' in seen
    assert '"path": "/seen?a=%2F"' in seen


def test_websockets_go_through(site: Site) -> None:
    async def talk() -> object:
        headers = {"Host": site.host("acme"), "Origin": f"http://{site.host('acme')}"}
        url = f"ws://127.0.0.1:{site.front.port}/echo"
        async with asyncio.timeout(DEADLINE):
            connection = await websocket_connect(HTTPRequest(url, headers=headers))
            await connection.write_message("hello")
            answer = await connection.read_message()
            connection.close()
            assert await connection.read_message() is None
        return answer

    assert asyncio.run(talk()) == "hello"


def test_after_a_power_cut_all_is_as_it_was(site: Site) -> None:
    site.deployment.add("resting", text='package = "shop"\n')
    eventually(lambda: site.ask("resting")[0] == 200)
    site.deployment.bus("stop", "resting")
    eventually(lambda: unavailable(site, "resting"))
    assert site.deployment.up
    site.deployment.up.kill()
    for pid in site.deployment.leftovers():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not site.deployment.leftovers())
    shutil.rmtree(site.deployment.directory / "var" / "run")
    assert unavailable(site, "acme")
    site.deployment.start()
    eventually(lambda: site.ask("acme")[0] == 200)
    assert unavailable(site, "resting")
    assert site.ask("nobody")[0] == 404
