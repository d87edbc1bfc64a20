"""A tenantbus with nginx in front of it, and a tenant that can be asked for many things."""

import http.client
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil

from examples.front import Front
from tests.harness import DEADLINE, eventually, free_port, short_directory
from tests.system.deployment import Deployment

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


class Slow(RequestHandler):
    # answers when `go` is there; by then `begun` says what it was asked

    async def prepare(self):
        with open("begun", "a") as file:
            file.write(self.request.method + "\\n")
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
        self.finish(self.request.body or str(os.getpid()))


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
    handlers.append(("/slow", Slow))
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

    def is_unavailable(self, tenant: str, method: str = "GET") -> bool:
        """Tell whether visitors are asked to come again later."""
        status, page, headers = self.ask(tenant, method=method)
        return (status, headers.get("Retry-After")) == (503, "5") and "Back in a moment" in page

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


@contextmanager
def served() -> Iterator[Site]:
    """Have one whose nginx has the same processes at the end as at the beginning."""
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
