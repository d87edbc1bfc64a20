"""A network of its own for a server: a namespace at the other end of a cable, with a filter on it."""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.unable import unable


class Namespace:
    """What runs `through` it is reached at `address`."""

    def __init__(self) -> None:
        number = random.randrange(0, 2**14)
        subnet = f"198.18.{number // 64}.{number % 64 * 4}"  # for such tests, RFC 2544
        self.name = f"tb-{number}"
        self.address = _nth(subnet, 2)
        self.through = ("ip", "netns", "exec", self.name)
        self._cable = f"tb{number}"
        self._our_address = _nth(subnet, 1)

    def make(self) -> None:
        inside = ("netns", "exec", self.name, "ip")
        _ip("netns", "add", self.name)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("address", "add", f"{self._our_address}/30", "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        _ip(*inside, "address", "add", f"{self.address}/30", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", self._cable], check=False, capture_output=True)

    @contextmanager
    def filtered(self, verdict: str) -> Iterator[None]:
        """Do this to everything that arrives: "drop", "reject with tcp reset"."""
        chain = f"type filter hook input priority 0; iif eth0 meta l4proto tcp {verdict};"
        rules = f"table ip t {{ chain c {{ {chain} }}; }}"
        nft = ["ip", "netns", "exec", self.name, "nft"]
        subprocess.run([*nft, rules], check=True)
        try:
            yield
        finally:
            subprocess.run([*nft, "flush", "ruleset"], check=True)


def _nth(subnet: str, number: int) -> str:
    head, _, last = subnet.rpartition(".")
    return f"{head}.{int(last) + number}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Make one; where that is not allowed, also to root, the test is skipped, but not in CI."""
    if os.geteuid():
        unable("a network of our own needs root")
    one = Namespace()
    try:
        try:
            one.make()
        except (OSError, subprocess.CalledProcessError) as error:
            unable(f"no network of our own: {getattr(error, 'stderr', error)}")
        yield one
    finally:
        one.remove()
