"""nginx as a user of its own reaches the sockets through the group that our systemd units give them."""

import grp
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from examples.front import Front, FrontError
from services.reactor.doors import Door, Doors
from tests.harness import DEADLINE, eventually, free_port, short_directory

OTHER = "www-data"

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"

pytestmark = pytest.mark.skipif(
    not Front.available() and "CI" not in os.environ, reason="no nginx on this machine"
)


@contextmanager
def tenant(path: Path) -> Iterator[None]:
    """Answer one request at a socket that is as the reactor makes them."""

    def serve() -> None:
        with listener.accept()[0] as visitor:
            if visitor.recv(65536):
                visitor.sendall(ANSWER)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        with closing(socket.socket(socket.AF_UNIX)) as last:
            last.connect(str(path))
        thread.join(DEADLINE)


def ask(port: int) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as asked:
        asked.request("GET", "/", headers={"Host": "acme.localhost"})
        return asked.getresponse().status


def lay_out(run: Path, mode: int, group: int) -> Path:
    """Make the run directory with the modes that RuntimeDirectoryMode gives."""
    made = run / "http"
    made.mkdir(parents=True)
    run.parent.chmod(0o711)
    for directory in (made, run):
        os.chown(directory, os.getuid(), group)
        directory.chmod(mode)
    doors = Doors(made)
    doors.show("acme", Door.OPEN)
    doors.complete()
    return made


@pytest.mark.skipif(
    os.getuid() != 0 and "CI" not in os.environ, reason="only root can have workers of another user"
)
@pytest.mark.parametrize(("mode", "status"), [(0o710, 200), (0o700, 503)])
def test_its_group_decides_whether_nginx_may_come_near(mode: int, status: int) -> None:
    with short_directory() as place:
        directory = lay_out(place / "run", mode, grp.getgrnam(OTHER).gr_gid)
        front = Front(place / "front", directory, free_port(), user=OTHER)
        with tenant(directory / "acme.sock"), front.running():
            assert ask(front.port) == status


def is_over(process: psutil.Process) -> bool:
    """Tell whether it has ended; who inherits orphans may leave them unreaped."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_one_whose_master_was_killed_is_started_again_and_leaves_no_worker(short_dir: Path) -> None:
    front = Front(short_dir / "front", lay_out(short_dir / "run", 0o711, os.getgid()), free_port())
    with front.running():
        assert front.process
        first = psutil.Process(front.process.pid)
        workers = first.children()
        first.kill()
        eventually(lambda: is_over(first))
        assert ask(front.port) == 503  # by a worker, which has nobody to ask
        front.revive()
        assert ask(front.port) == 503
        eventually(lambda: all(is_over(worker) for worker in workers))
        second = psutil.Process(front.process.pid).children(recursive=True)
    assert workers
    assert second
    eventually(lambda: all(is_over(worker) for worker in second))


def test_a_taken_port_is_told(short_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        front = Front(short_dir / "front", short_dir, taken.getsockname()[1])
        with pytest.raises(FrontError, match="Address already in use"), front.running():
            pass
    assert front.process is not None
    assert front.process.returncode
