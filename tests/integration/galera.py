"""A Galera cluster of three MariaDB servers, from Debian's packages `galera-4` and `rsync`."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pymysql

from bus.events import DbUp
from examples.mariadb import SYSTEM_USER, MariaDb
from tests.harness import eventually, free_ports, short_directory
from tests.integration.conftest import PASSWORD
from tests.integration.watching import Scene, url

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
PORTS = 4
"""Of each node: of the server, of the cluster, for incremental and for full state transfers."""

FAST = (
    "evs.suspect_timeout=PT1.5S;evs.inactive_timeout=PT3S;evs.install_timeout=PT3S"
    ";evs.inactive_check_period=PT0.2S;evs.keepalive_period=PT0.3S;evs.join_retrans_period=PT0.7S"
)
"""How soon the nodes believe that one of them is gone; 5 s by default.

Nodes that cannot agree on who is there within install_timeout (half of inactive_timeout by default) take for
gone whom they have not heard, although one message that another overtook is enough for that. It comes again
after join_retrans_period (1 s), and so does the first one of a node that joins: there must be time for some.
With 0.5 s or less, a node that joins finds itself alone before the others hear it.
"""

START = 60.0


class Cluster:
    def __init__(self, directory: Path) -> None:
        first = free_ports(3 * PORTS)
        ports = [first + PORTS * number for number in range(3)]
        members = ",".join(f"127.0.0.1:{port + 1}" for port in ports)
        self.nodes = [
            MariaDb(directory / f"n{number}", port, number, options(number, port, members))
            for number, port in enumerate(ports, 1)
        ]

    def begin(self) -> None:
        first, *others = self.nodes
        first.create()
        first.options = (*first.options, "--wsrep-new-cluster")
        first.launch()
        first.wait_ready()
        first.options = first.options[:-1]
        for node in others:
            join(node)

    def end(self) -> None:
        for node in reversed(self.nodes):
            node.stop()


def options(number: int, port: int, members: str) -> list[str]:
    listens, receives = f"tcp://127.0.0.1:{port + 1}", f"127.0.0.1:{port + 2}"
    places = f"base_port={port + 1};gmcast.listen_addr={listens};ist.recv_addr={receives}"
    return [
        "--wsrep-on=ON",
        f"--wsrep-provider={PROVIDER}",
        f"--wsrep-provider-options={places};{FAST};gcache.size=8M",
        f"--wsrep-cluster-address=gcomm://{members}",
        f"--wsrep-node-name=n{number}",
        "--wsrep-node-address=127.0.0.1",
        "--wsrep-sst-method=rsync",
        f"--wsrep-sst-receive-address=127.0.0.1:{port + 3}",
        "--innodb-autoinc-lock-mode=2",
    ]


def launch_empty(node: MariaDb) -> None:
    """Start a node that gets everything from another one."""
    for directory in (node.directory, node.data, node.temporary):
        directory.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:  # rsync gives root's rights away, and then cannot write
            owner = pwd.getpwnam(SYSTEM_USER)
            os.chown(directory, owner.pw_uid, owner.pw_gid)
    node.launch()


def join(node: MariaDb) -> None:
    launch_empty(node)
    eventually(lambda: synced(node), START)


def synced(node: MariaDb) -> bool:
    return status(node, "wsrep_local_state_comment") == "Synced" and status(node, "wsrep_ready") == "ON"


def is_one_of(node: MariaDb, count: int) -> bool:
    """Tell whether a node serves in a cluster of so many; a dead one that comes back too early splits it."""
    return synced(node) and status(node, "wsrep_cluster_size") == str(count)


def status(node: MariaDb, name: str) -> str:
    try:
        ((_, value),) = node.sql(f"SHOW STATUS LIKE '{name}'")
    except (OSError, pymysql.err.MySQLError) as error:
        raise AssertionError(error) from error
    return str(value)


def receiver(node: MariaDb) -> psutil.Process | None:
    """Find the rsync daemon of a node that waits for a full state transfer.

    One that does not listen yet is none: were it stopped then, the node would never ask for a donor.
    """
    assert node.process is not None
    try:
        for child in psutil.Process(node.process.pid).children(recursive=True):
            if child.name() == "rsync" and any(
                each.status == psutil.CONN_LISTEN for each in child.net_connections("tcp")
            ):
                return child
    except psutil.NoSuchProcess:  # its scripts run many short commands
        pass
    return None


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    """Stop a process for a while; one that stayed so would outlive the servers."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@contextmanager
def cluster() -> Iterator[Cluster]:
    with short_directory() as directory:
        directory.chmod(0o711)  # for the servers' own user
        one = Cluster(directory)
        try:
            one.begin()
            one.nodes[0].sql("CREATE DATABASE shop")
            grant = f"GRANT ALL ON shop.* TO shop@'%' IDENTIFIED BY '{PASSWORD}'"
            one.nodes[0].sql(grant, "GRANT SLAVE MONITOR ON *.* TO shop@'%'")
            yield one
        finally:
            one.end()


NAMES = ("db1", "db2", "db3")


def scene_of(nodes: list[MariaDb], tmp_path: Path) -> Scene:
    return Scene(tmp_path, **dict(zip(NAMES, map(url, nodes), strict=True))).at_ease()


async def all_up(scene: Scene) -> None:
    for _ in NAMES:
        event = (await anext(scene.events)).event
        assert isinstance(event, DbUp), event
        assert event.galera == "Primary, Synced, 3 nodes"


async def are_up(scene: Scene) -> bool:
    """Tell whether all are up by what was said of them last, in whatever order."""
    newest = {event.subject: event for event in await scene.told()}
    return all(isinstance(newest[name], DbUp) for name in NAMES)
