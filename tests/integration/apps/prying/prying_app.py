"""An application that somebody has broken into: does what the request says, and tells what came of it."""

import errno
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.web import Application, RequestHandler


def connect(path: str) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as one:
            try:
                one.connect(path)
            except OSError as error:
                if error.errno != errno.EPROTOTYPE:
                    raise


def read(path: str) -> None:
    with Path(path).open("rb") as file:
        file.read(1)


def write(path: str) -> None:
    with Path(path).open("r+b"):
        pass


def send_as(pid: str) -> None:
    """Say READY=1 in another process's name."""
    name = os.environ["NOTIFY_SOCKET"]
    who = struct.pack("3i", int(pid), os.getuid(), os.getgid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.sendmsg(
            [b"READY=1"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, who)], 0, f"\0{name.removeprefix('@')}"
        )


WAYS: dict[str, Callable[[str], object]] = {
    "read": read,
    "write": write,
    "list": os.listdir,
    "make": lambda path: Path(path).write_text("mine"),
    "connect": connect,
    "send_as": send_as,
    "signal": lambda pid: os.kill(int(pid), signal.SIGCONT),
}


class Try(RequestHandler):
    """?how=read&what=/path, once or more: answers with "ok" or the error's name for each."""

    def get(self) -> None:
        answers = []
        for how, what in zip(self.get_arguments("how"), self.get_arguments("what"), strict=True):
            try:
                WAYS[how](what)
                answers.append("ok")
            except OSError as error:
                answers.append(errno.errorcode[error.errno or 0])
        self.write(json.dumps(answers))


class Self(RequestHandler):
    def get(self) -> None:
        status = dict(
            line.split(":\t", 1)
            for line in Path("/proc/self/status").read_text().splitlines()
            if ":\t" in line
        )
        self.write(
            {
                "pid": os.getpid(),
                "ids": [*os.getresuid(), *os.getresgid()],
                "groups": os.getgroups(),
                "home": os.environ["HOME"],
                "secret": os.environ.get("SECRET", ""),
                **{name: status[name].strip() for name in ("NoNewPrivs", "CapEff", "CapPrm", "Umask")},
            }
        )


class Fill(RequestHandler):
    def get(self) -> None:
        kept = [os.urandom(1 << 20) for _ in range(int(self.get_argument("mb")))]
        self.write(str(len(kept)))


class Forks(RequestHandler):
    """Starts processes until the kernel refuses, sixty at most; tells how many there were."""

    def get(self) -> None:
        children: list[int] = []
        try:
            while len(children) < 60:
                pid = os.fork()
                if pid == 0:
                    time.sleep(60)
                    os._exit(0)
                children.append(pid)
        except OSError:
            pass
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.write(str(len(children)))


class Burn(RequestHandler):
    """Works for a second and a half; tells which share of it there was a core for."""

    def get(self) -> None:
        begin, worked = time.monotonic(), time.process_time()
        while time.monotonic() < begin + 1.5:
            pass
        self.write(str((time.process_time() - worked) / (time.monotonic() - begin)))


class Escape(RequestHandler):
    """Leaves everything that one may be known by: session, parents, environment, memory; tells the pid."""

    def get(self) -> None:
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(write, str(os.getpid()).encode())
                os.closerange(0, 64)
                os.execve("/bin/sleep", ["sleep", "600"], {})
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as file:
            self.write(file.read())
        os.wait()


def make_app(_tenant: Any) -> Application:
    routes: list[Any] = [
        ("/try", Try),
        ("/self", Self),
        ("/fill", Fill),
        ("/forks", Forks),
        ("/burn", Burn),
        ("/escape", Escape),
    ]
    return Application(routes)
