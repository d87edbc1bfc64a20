"""The life of a tenant's process whose application is an `entry`: serve until SIGTERM, finish, end."""

from __future__ import annotations

import asyncio
import faulthandler
import inspect
import io
import logging
import os
import signal
import socket
import sys
import traceback
from typing import Any

from tornado.httputil import HTTPServerConnectionDelegate

from . import kernel, notify
from .application import MakeApp
from .serving import CHUNK, CountingServer, Score, ScoringSelector
from .tenant import Tenant

NEVER = 3
"""Exit code of a tenant that can never start as things are."""

LISTEN_BEGIN = 3
"""The first passed descriptor (sd_listen_fds(3)): the unix socket; the TCP socket follows."""

GOING_AWAY = 1001
"""Close code of websockets (RFC 6455 section 7.4.1)."""

LAST_WORDS = 1.0
"""Seconds that clients have to answer our closing of their websockets."""

SILENCE = 1.0
"""Seconds that a connection accepted just before the end has to ask; a successor serves meanwhile."""

_to_stderr = logging.StreamHandler()
"""For applications that have no opinion of their own about where to log."""


def prepare() -> None:
    """Do once, before the fork, what every tenant needs: what it does itself costs memory of its own."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    faulthandler.enable()
    faulthandler.register(signal.SIGQUIT, all_threads=True)
    _to_stderr.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))


def live(order: dict[str, Any], make_app: MakeApp, score: memoryview) -> int:
    """Be the tenant; gives the exit code."""
    kernel.set_name(order["tenant"])
    loop = asyncio.SelectorEventLoop(ScoringSelector(score))
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve(order, make_app, score))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    except SystemExit as end:
        return exit_code(end)
    except BaseException:  # noqa: BLE001  # whatever the application raised ends this process, and is shown
        traceback.print_exc()
        return NEVER
    return 0


def exit_code(end: SystemExit) -> int:
    """Tell the code that sys.exit(...) means."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write(f"{end.code}\n")
    return 1


async def _serve(order: dict[str, Any], make_app: MakeApp, numbers: memoryview) -> None:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # loop.add_signal_handler makes an enum of all 64 signals, which costs as much as the whole loop
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(asked_to_stop.set))
    tenant, identity = Tenant(order), _identity(order)
    application = make_app(tenant)
    if inspect.isawaitable(application):
        application = await application
    if not isinstance(application, HTTPServerConnectionDelegate):
        raise TypeError(f"make_app gave {application!r}, which is no tornado.web.Application")
    if not logging.getLogger().handlers:  # the application has no opinion of its own
        logging.getLogger().addHandler(_to_stderr)
    server = CountingServer(application, xheaders=True, chunk_size=CHUNK)
    server.count(Score(numbers), identity)
    for number in range(LISTEN_BEGIN, LISTEN_BEGIN + order["sockets"]):
        listener = socket.socket(fileno=number)
        listener.setblocking(False)
        server.add_socket(listener)
    mailbox = tenant.open_mailbox()
    if mailbox:
        await mailbox.say_ready()
    else:
        notify.send("READY=1")
    following = asyncio.ensure_future(tenant.follow(identity))
    await asked_to_stop.wait()
    notify.send("STOPPING=1")
    following.cancel()
    if mailbox:
        mailbox.close()
    await _finish(server, server.score)


def _identity(order: dict[str, Any]) -> dict[str, Any]:
    """Tell who this is, to who asks before he believes that he talks to the right one."""
    said = {key: order[key] for key in ("tenant", "release", "database", "port")}
    return {**said, "pid": os.getpid()}


async def _finish(server: CountingServer, score: Score) -> None:
    """Finish what was begun; how long that may take is up to whoever kills us."""
    await asyncio.sleep(0)  # connections that the kernel has accepted for us already are still ours to take
    server.drain()
    for websocket in score.websockets:
        websocket.close(GOING_AWAY, "restart")
    await _until(lambda: not score.websockets, score, LAST_WORDS)
    await _until(lambda: not score.in_flight, score, None)
    await _until(lambda: not score.silent, score, SILENCE)
    await _until(lambda: not score.in_flight, score, None)


async def _until(done: Any, score: Score, within: float | None) -> None:
    loop = asyncio.get_running_loop()
    end = None if within is None else loop.time() + within
    while not done():
        score.changed.clear()
        left = None if end is None else end - loop.time()
        try:
            await asyncio.wait_for(score.changed.wait(), left)
        except asyncio.TimeoutError:  # noqa: UP041  # 3.9 and 3.10 know it by this name only
            return


def leave(code: int) -> None:
    """End a forked process without tearing down the heap that it shares."""
    import atexit  # noqa: PLC0415  # what only the end needs

    atexit._run_exitfuncs()  # noqa: SLF001  # as multiprocessing does after fork
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
