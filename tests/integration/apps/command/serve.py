"""A program made for systemd: takes its socket, says READY by the sdnotify package if asked to, answers."""

import os
import socket
import sys

import sdnotify  # type: ignore[import-untyped]  # it has no types

assert os.environ["LISTEN_PID"] == str(os.getpid())
listener = socket.socket(fileno=3)
listener.setblocking(True)
if "notify" in sys.argv:
    notifier = sdnotify.SystemdNotifier(debug=True)
    notifier.notify("READY=1")
    for word in sys.argv:
        if word.startswith("WATCHDOG_USEC="):
            notifier.notify(f"{word}\nWATCHDOG=1")
    if "beat" in sys.argv:
        notifier.notify("WATCHDOG=1")
if "silent" in sys.argv:
    listener = socket.socket()  # answers nobody
    listener.bind(("127.0.0.1", 0))
    listener.listen()
while True:
    peer, _ = listener.accept()
    peer.recv(4096)
    body = f"{os.getpid()} {sys.argv[1:]} {os.environ.get('WATCHDOG_USEC')}"
    peer.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    peer.close()
