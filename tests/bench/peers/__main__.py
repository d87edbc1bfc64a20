"""Measures tenantbus beside other managers: python -m tests.bench.peers [NAME...]."""

import argparse
import sys
from pathlib import Path

from tests.bench import table
from tests.bench.peers import show
from tests.bench.peers.circus import Circus
from tests.bench.peers.measure import measure
from tests.bench.peers.peer import NotMeasuredError, Peer
from tests.bench.peers.pm2 import Pm2
from tests.bench.peers.show import Measured
from tests.bench.peers.supervisor import Supervisor
from tests.bench.peers.systemd import Systemd
from tests.bench.peers.tenantbus import Tenantbus
from tests.harness import short_directory

PEERS: dict[str, type[Peer]] = {
    "supervisor": Supervisor,
    "circus": Circus,
    "pm2": Pm2,
    "systemd": Systemd,
}


def run(kind: type[Peer]) -> Measured:
    """Measure one, in a directory that is removed afterwards."""
    print(f"{kind.name} ...", file=sys.stderr, flush=True)
    with short_directory() as directory:
        peer = kind(directory)
        try:
            return Measured(kind, f"{kind.name} {peer.install()}", measure(peer))
        except NotMeasuredError as error:
            return Measured(kind, kind.name, str(error))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}; default: all")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="also write the table between FILE's marks"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(PEERS)
    if unknown:
        parser.error(f"no peer named {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    kinds: list[type[Peer]] = [Tenantbus, *(PEERS[name] for name in arguments.names or PEERS)]
    measured = [run(kind) for kind in kinds]
    print(table.aligned(show.lines(measured), show.RIGHT))
    if arguments.markdown:
        table.write_between_marks(arguments.markdown, show.markdown(measured), "bench-peers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
