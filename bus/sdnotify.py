"""Speaks sd_notify to whoever started us (sd_notify(3)); silent when nobody listens."""

import asyncio
import os
import socket


def send(message: str) -> None:
    """Send "READY=1" and the like to NOTIFY_SOCKET, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(message.encode(), address)
        except OSError:  # the manager is gone, or so stuck that its queue is full: we must not wait for it
            return


def watchdog_interval() -> float | None:
    """Seconds between two WATCHDOG=1, half of what the manager allows; None when it does not watch us."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdigit() else None


async def keep_alive() -> None:
    """Send WATCHDOG=1 from the loop that does the work, so that a stuck loop is noticed."""
    interval = watchdog_interval()
    while interval:
        send("WATCHDOG=1")
        await asyncio.sleep(interval)
    await asyncio.Event().wait()
