"""The life of a tenant that nobody knows, from its birth to its end, with the application of the warm-up."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import selectors
import signal
import socket
from typing import Any

from . import application, child, page, runtime, wire
from .tenant import Tenant

ORDER: dict[str, Any] = {
    "tenant": "rehearsal",
    "release": "",
    "database": "",
    "plan": "free",
    "port": 0,
    "user": None,
    "needs": (),
    "cgroups": (),
    "limits": (),
    "directory": "/",
    "log": os.devnull,
    "notify": "",
    "sockets": 0,
    "watchdog": 0,
}


def live() -> None:
    """Be that tenant, after being its parent for a moment: the process is of no use afterwards."""
    _speak()
    may_go, go = os.pipe()
    os.write(go, b"!")
    private, score = os.memfd_create("private"), os.memfd_create("score")
    os.write(private, b'{"env": {}, "settings": {}}')
    os.truncate(score, page.SIZE)
    birth = child.Birth(dict(ORDER), [], score, page.lend(score).numbers, private, may_go)
    child.settle_in(birth)
    os.close(child.PAGE_AT)
    runtime.live(birth.order, _make_app, birth.numbers)


def _speak() -> None:
    """Do what a fork server does for each tenant."""
    reactor, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with reactor, ours, selectors.PollSelector() as selector, contextlib.suppress(BlockingIOError):
        ours.setblocking(False)
        selector.register(ours, selectors.EVENT_READ)
        wire.Outbox(reactor).send(ORDER, [ours.fileno()])
        selector.select()
        wire.Outbox(ours).send(ORDER)
        while True:
            wire.receive(ours)


def _make_app(_: Tenant) -> Any:
    """Ask for a few pages, then for the end."""
    warm = importlib.import_module(".warm", __package__)

    async def ask() -> None:
        with application.listening() as listener:
            await warm.exercise(listener, application.REQUESTS)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = asyncio.ensure_future(ask())
    made = warm.make_app()
    made.settings["asking"] = asking  # or nobody would hold it
    return made
