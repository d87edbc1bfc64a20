"""What tests ask of a tenant: to tell about itself, to be slow, to misbehave."""

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


class Pid(RequestHandler):
    def get(self) -> None:
        self.write(str(os.getpid()))


class About(RequestHandler):
    def get(self) -> None:
        tenant = self.settings["tenant"]
        self.write(
            {
                "name": tenant.name,
                "release": tenant.release,
                "plan": tenant.plan,
                "settings": tenant.settings,
                "database_url": tenant.database_url,
                "environ": dict(os.environ),
                "directory": str(Path.cwd()),
                "session": os.getsid(0),
                "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                "random": random.random(),
                "descriptors": {
                    link.name: str(link.readlink())
                    for link in Path("/proc/self/fd").iterdir()
                    if link.exists()
                },
                "ours": sorted(name for name in sys.modules if name.partition(".")[0] in {"bus", "services"}),
            }
        )


class Slow(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0.5)
        self.write(str(os.getpid()))


class Misbehave(RequestHandler):
    def get(self, how: str) -> None:
        if how == "block":
            time.sleep(3600)
        elif how == "segv":
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGSEGV)
        elif how == "fail":
            raise RuntimeError("as asked")
        else:
            sys.exit(int(how))


class Daemons(RequestHandler):
    """Leaves children behind in every way there is; answers with their pids."""

    def get(self) -> None:
        child = subprocess.Popen(["sleep", "600"])
        pids = [child.pid, detach(), detach("sleep", "600")]
        self.write(json.dumps(pids))


def detach(*command: str) -> int:
    """Double fork with a session of its own; gives the pid of what stays."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            os.close(write)
            if command:
                os.execvp(command[0], command)
            time.sleep(600)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        pid = int(file.read())
    os.wait()
    return pid


class Echo(WebSocketHandler):
    def open(self, *_: str, **__: str) -> None:
        self.write_message(str(os.getpid()))

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


def make_app(tenant: Any) -> Application:
    if "refuse" in tenant.settings:
        raise RuntimeError(tenant.settings["refuse"])
    if "leave" in tenant.settings:
        sys.exit(int(tenant.settings["leave"]))
    routes = [
        ("/", Pid),
        ("/about", About),
        ("/slow", Slow),
        ("/daemons", Daemons),
        ("/echo", Echo),
        ("/(block|segv|fail|[0-9]+)", Misbehave),
    ]
    return Application(routes, tenant=tenant)
