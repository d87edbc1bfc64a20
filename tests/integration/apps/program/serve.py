"""A program that needs nothing but an interpreter: answers with its user, after it said READY."""

import os
import socket

with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
listener = socket.socket(fileno=3)
listener.setblocking(True)
while True:
    peer, _ = listener.accept()
    peer.recv(4096)
    body = str(os.getuid())
    peer.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    peer.close()
