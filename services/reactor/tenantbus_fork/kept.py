"""Sockets of tenants that sleep, on their way between reactor and fork server: many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from . import wire


class Kept(NamedTuple):
    """The sockets of a tenant that sleeps."""

    tenant: str
    port: int
    sockets: list[int]


def in_packets(kept: Iterable[Kept]) -> Iterator[tuple[list[int], list[tuple[str, int, int]]]]:
    """Give descriptors, and what they are, as many at a time as fit into a packet."""
    descriptors: list[int] = []
    about: list[tuple[str, int, int]] = []
    for tenant, port, sockets in kept:
        if len(descriptors) + len(sockets) > wire.DESCRIPTORS_MAX:
            yield descriptors, about
            descriptors, about = [], []
        descriptors += sockets
        about.append((tenant, port, len(sockets)))
    if about:
        yield descriptors, about


def from_packet(descriptors: list[int], about: Iterable[tuple[str, int, int]]) -> Iterator[Kept]:
    """Take apart what `in_packets` gave."""
    rest = iter(descriptors)
    for tenant, port, count in about:
        yield Kept(tenant, port, list(islice(rest, count)))
