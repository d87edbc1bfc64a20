"""A tenant that falls ill in whatever way it is asked to."""

import ctypes
import os
import threading
import time
from contextlib import suppress

from tornado.ioloop import IOLoop
from tornado.web import Application, RequestHandler

SYS_EXIT = 60 if os.uname().machine == "x86_64" else 93
"""Number of the system call that ends one thread, not its process."""

held: list[int | bytearray] = []
"""What was opened or allocated, and is never let go of."""


def block(handler: RequestHandler) -> None:
    time.sleep(3600)


def spin(handler: RequestHandler) -> None:
    while True:
        pass


def nap() -> None:
    while True:
        time.sleep(0.01)


def deadlock(handler: RequestHandler) -> None:
    """Sleep in C with the GIL, which another thread wants."""
    threading.Thread(target=nap, daemon=True).start()
    time.sleep(0.1)
    ctypes.PyDLL(None).pause()


def uninterruptible(handler: RequestHandler) -> None:
    """Wait for a child of vfork(2), which never comes to its exec: in state D, as if for a disk."""
    library = ctypes.PyDLL(None)
    if library.vfork() == 0:
        while True:
            library.pause()


def zombie(handler: RequestHandler) -> None:
    """End the main thread, while another one goes on."""
    threading.Thread(target=time.sleep, args=(3600,)).start()
    ctypes.CDLL(None).syscall(SYS_EXIT, 0)


def full(handler: RequestHandler) -> None:
    """Use up all descriptors, also what is given back; the loop goes on, and cannot accept."""
    with suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    IOLoop.current().call_later(0.05, full, handler)


def leak(handler: RequestHandler) -> None:
    held.append(bytearray(os.urandom(1)) * (64 << 20))
    handler.write("leaked")


def drag(handler: RequestHandler) -> None:
    time.sleep(float(handler.get_argument("for")))
    handler.write("done")


def fail(handler: RequestHandler) -> None:
    handler.set_status(500)


def pid(handler: RequestHandler) -> None:
    handler.write(str(os.getpid()))


VERBS = {
    each.__name__: each for each in (block, spin, deadlock, uninterruptible, zombie, full, leak, drag, fail)
}


class Do(RequestHandler):
    def get(self, verb: str) -> None:
        VERBS.get(verb, pid)(self)


def make_app(tenant: object) -> Application:
    return Application([("/(.*)", Do)])
