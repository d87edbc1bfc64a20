"""nginx in front of real tenants: who gets which answer."""

import asyncio
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from examples.front import Front
from tests.harness import DEADLINE, eventually
from tests.system.fronted import Site


@pytest.mark.skipif(not Front.available() and "CI" not in os.environ, reason="no nginx on this machine")
def test_the_shipped_configuration_is_correct_as_it_is(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "deploy" / "nginx" / "tenantbus.conf"
    main = tmp_path / "nginx.conf"
    main.write_text(f"pid {tmp_path}/pid; events {{}} http {{ include {shipped}; }}")
    command = Front(tmp_path, tmp_path, 0).command(main, "-t")
    verdict = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (verdict.returncode, re.findall(r"\[(?:warn|emerg)\].*", verdict.stderr)) == (0, []), (
        verdict.stderr
    )


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
    eventually(lambda: site.is_unavailable(name) and site.deployment.ps()[name]["state"] == state, every=0.2)
    assert site.is_unavailable(name, "POST")
    site.settings(name)
    site.deployment.bus("start", name, code=None)
    eventually(lambda: site.ask(name)[0] == 200)
    shutil.rmtree(site.deployment.directory / "tenants" / name)
    eventually(lambda: site.ask(name)[0] == 404)


ON_DEMAND = 'package = "shop"\nstart = "on-demand"\n'


def test_the_first_visitors_of_a_tenant_that_sleeps_are_answered(site: Site) -> None:
    site.deployment.add("drowsy", text=ON_DEMAND)
    eventually(lambda: site.deployment.ps().get("drowsy", {}).get("state") == "SLEEPING", every=0.2)
    with ThreadPoolExecutor(20) as visitors:
        posted = visitors.submit(site.ask, "drowsy", "/count/7", "POST")
        answers = list(visitors.map(site.ask, ["drowsy"] * 20))
    assert posted.result()[:2] == (200, "7")
    assert {status for status, _, _ in answers} == {200}
    assert len({page for _, page, _ in answers}) == 1
    shutil.rmtree(site.deployment.directory / "tenants" / "drowsy")


def test_the_first_visitor_of_one_that_cannot_wake_is_told_so(site: Site) -> None:
    site.deployment.add("dead", text=f'{ON_DEMAND}env = {{ MOOD = "never" }}\n')
    eventually(lambda: site.deployment.ps().get("dead", {}).get("state") == "SLEEPING", every=0.2)
    assert site.is_unavailable("dead")
    assert site.deployment.ps()["dead"]["state"] == "FATAL"
    assert site.is_unavailable("dead", "POST")
    shutil.rmtree(site.deployment.directory / "tenants" / "dead")


def test_a_tenant_stopped_by_hand_says_so_until_it_is_started(site: Site) -> None:
    site.deployment.bus("stop", "acme")
    eventually(lambda: site.is_unavailable("acme"))
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
