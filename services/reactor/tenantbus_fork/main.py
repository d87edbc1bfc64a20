"""How a fork server begins, and how each of its children goes on."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import resource
import secrets
import socket
import sys
import traceback
from pathlib import Path

from . import application, child, compact, kernel, page, rehearsal, runtime, source
from .application import BrokenError, MakeApp
from .server import ForkServer, say

LISTENER_AT = 3
"""The descriptor at which the reactor passes the listening control socket."""

RESERVED = 8
"""Descriptors below are kept free of the application's: a tenant's sockets come to 3 and 4."""


def main() -> None:
    if sys.argv[1:] == [child.EXEC_ARGUMENT]:
        sys.exit(_live_alone())
    options = _options()
    gc.disable()  # here; a collection would touch pages that tenants share
    server = _begin(options)
    make_app = _make_ready(options, server)
    birth = server.serve()
    if birth is None:
        server.close()
        os._exit(0)  # what the application does at its exit is for tenants, not for us
    runtime.leave(_live(options, birth, make_app))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="forkserver.py", description="The parent of one release's tenants.")
    parser.add_argument("--release", required=True, help="app-version")
    parser.add_argument("--path", required=True, help="the release's directory")
    parser.add_argument("--stamp", required=True, help="of the release's package.toml")
    parser.add_argument("--socket", required=True, help="path of the control socket, which is descriptor 3")
    parser.add_argument("--entry", help="module:callable to import; without it, tenants are commands")
    parser.add_argument("--exec", action="store_true", help="each tenant imports the entry for itself")
    return parser.parse_args()


def _begin(options: argparse.Namespace) -> ForkServer:
    kernel.set_name(f"fork {options.release}")
    kernel.become_subreaper()
    with contextlib.suppress(OSError):  # of a release that is gone, importing it tells more
        os.chdir(options.path)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.socket(fileno=kernel.keep_high(LISTENER_AT))
    listener.setblocking(False)
    listener.listen()  # again: from now on the kernel tells whoever connects that this is us
    while os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) < RESERVED - 1:
        pass
    about = {
        "pid": os.getpid(),
        "started": kernel.started(os.getpid()),
        "boot": kernel.boot_id(),
        "release": options.release,
        "stamp": options.stamp,
        "socket": options.socket,
        "inode": Path(options.socket).stat().st_ino,
    }
    return ForkServer(about, listener, f"@{Path(options.socket).parent}/{secrets.token_hex(8)}")


def _make_ready(options: argparse.Namespace, server: ForkServer) -> MakeApp | None:
    """Import what tenants share; gives None when each tenant is a program of its own."""
    if not options.entry:
        return None
    if options.exec:
        source.keep()
        return None
    runtime.prepare()
    try:
        application.warm_up()
        make_app = application.load(options.path, options.entry)
    except BrokenError as error:
        server.give_up(str(error))
        server.close()
        os._exit(runtime.NEVER)
    if application.has_threads():
        say(
            f"{options.entry} starts threads when it is imported, and threads do not survive a fork:"
            " each tenant will import it for itself"
        )
        server.begin_again([sys.executable, "-I", *sys.argv, "--exec"], LISTENER_AT)
    compact.gather(rehearsal.live, application.warm_up)
    application.freeze()
    sys.stdout.flush()  # or each tenant would write it once more
    say(f"{options.release} is ready")
    return make_app


def _live(options: argparse.Namespace, birth: child.Birth, make_app: MakeApp | None) -> int:
    """Be a tenant; gives the exit code."""
    try:
        child.settle_in(birth)
        if birth.order["command"]:
            child.run_command(birth.order)
        if make_app is None:
            birth.order.update(path=options.path, entry=options.entry)
            child.run_interpreter(birth.order)
    except (OSError, ValueError):  # such as a limit above what we may give
        traceback.print_exc()
        return 1
    gc.freeze()  # what the fork server keeps about others is never to be looked through here
    gc.enable()
    assert make_app is not None  # noqa: S101  # the lines above do not come back otherwise
    os.close(child.PAGE_AT)  # who has a descriptor could shorten the file (page.open_page)
    return runtime.live(birth.order, make_app, birth.numbers)


def _live_alone() -> int:
    """Be a tenant in an interpreter of its own."""
    order = child.read_order()
    score = page.open_page(child.PAGE_AT)  # before anything of the application runs
    runtime.prepare()
    try:
        make_app = application.load(order["path"], order["entry"])
    except BrokenError as error:
        say(str(error))
        return runtime.NEVER
    return runtime.live(order, make_app, score)
