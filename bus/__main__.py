"""`python -m bus`: the broker as a process."""

import gc
import os
import signal
import socket
from types import FrameType

from bus import __version__, daemon, sdnotify
from bus.broker import Broker
from bus.events import ServiceDown, ServiceUp


def main() -> None:
    settings = daemon.begin("broker")
    os.umask(0o077)
    wake, woken = socket.socketpair()
    wake.setblocking(False)
    stopped_by: list[signal.Signals] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped_by.append(signal.Signals(number))

    signal.set_wakeup_fd(wake.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    broker = Broker(settings)
    broker.wake_on(woken.fileno())
    broker.say(ServiceUp(service="broker", pid=os.getpid(), version=__version__))
    broker.round()
    gc.freeze()  # what is here now stays: collections need not walk it again, and rounds wait less
    sdnotify.send("READY=1")
    while not stopped_by:
        broker.serve()
    sdnotify.send("STOPPING=1")
    reason = f"stopped by {stopped_by[0].name}"
    broker.say(ServiceDown(service="broker", pid=os.getpid(), reason=reason))
    broker.round()
    broker.close()


if __name__ == "__main__":
    main()
