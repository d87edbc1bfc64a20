"""Looks at the score pages, all of them in one sweep.

A page is mapped once and then read without a system call; the tenant never notices. A tenant's page may be
replaced by another file, so each mapping is compared with the directory now and then. A page's file must
never be shortened while it is mapped: the kernel would end the reader (SIGBUS).
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bus.model import TENANT_NAME
from services.dispatcher.decide import Sight
from services.score import MAGIC, PAGE_SIZE, Slot

NANO = 1_000_000_000

_BUSY = int(Slot.BUSY_SINCE)  # a plain int: an enum's attribute would cost more than the look itself
_STOPPED = int(Slot.STOPPED_SINCE)
_EXITED = int(Slot.EXITED_AT)
_READY = int(Slot.READY_AT)
_STOPPING = int(Slot.STOPPING_AT)


class Mapping(NamedTuple):
    inode: int
    memory: mmap.mmap
    page: memoryview

    def close(self) -> None:
        self.page.release()
        self.memory.close()


class Pages:
    """All score pages of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mappings: dict[str, Mapping] = {}
        self._pages: dict[str, memoryview] = {}
        self._beating: set[str] = set()

    def scan(self) -> set[str]:
        """Compare with the directory; gives the tenants whose page came, went or was replaced.

        Learns as well who sends beats: most programs send the first one some time after they said READY.
        """
        with os.scandir(self._directory) as entries:
            present = {entry.name: entry.inode() for entry in entries if not entry.name.startswith(".")}
        known = {tenant: mapping.inode for tenant, mapping in self._mappings.items()}
        changed = {tenant for tenant, _ in present.items() ^ known.items()}
        for tenant in changed:
            self.refresh(tenant)
        self._beating = {tenant for tenant, page in self._pages.items() if page[Slot.BEAT_EVERY]}
        return changed

    def refresh(self, tenant: str) -> None:
        """Map the tenant's page as it is now, or forget it when it is gone or not filled in yet."""
        if not TENANT_NAME.fullmatch(tenant):  # events may name anything, also what the kernel refuses
            return
        mapping = self._mappings.get(tenant)
        try:
            descriptor = os.open(self._directory / tenant, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._forget(tenant)
            return
        try:
            status = os.fstat(descriptor)
            if mapping is None or mapping.inode != status.st_ino:
                self._forget(tenant)
                if status.st_size >= PAGE_SIZE:
                    self._map(tenant, descriptor, status.st_ino)
        finally:
            os.close(descriptor)
        if tenant in self._pages and self._pages[tenant][Slot.BEAT_EVERY]:
            self._beating.add(tenant)
        else:
            self._beating.discard(tenant)

    def look(self, before: float) -> list[str]:
        """Tell which tenants have been busy since `before` (monotonic seconds), are stopped, or send beats.

        Everything else about them is for `read`: this runs over every page several times a second.
        """
        found = self.busy(before)
        return [*found, *self._beating.difference(found)] if self._beating else found

    def busy(self, before: float) -> list[str]:
        """Tell which tenants that serve have been busy since `before` (monotonic seconds), or are stopped."""
        limit = int(before * NANO)
        return [
            tenant
            for tenant, page in self._pages.items()
            if (0 < page[_BUSY] <= limit or page[_STOPPED])
            and page[_READY]
            and not (page[_EXITED] or page[_STOPPING])
        ]

    def count_serving(self) -> int:
        """Tell how many tenants serve: the pages of those that ended stay to be looked at."""
        return sum(
            bool(page[_READY]) and not (page[_EXITED] or page[_STOPPING]) for page in self._pages.values()
        )

    def read(self, tenant: str) -> Sight | None:
        """Read one page; None when there is none."""
        page = self._pages.get(tenant)
        if page is None:
            return None
        return Sight(
            pid=page[Slot.PID],
            started=page[Slot.STARTED],
            ready_at=page[Slot.READY_AT] / NANO,
            busy_since=page[Slot.BUSY_SINCE] / NANO,
            loops=page[Slot.LOOPS],
            requests=page[Slot.REQUESTS],
            in_flight=page[Slot.IN_FLIGHT],
            websockets=page[Slot.WEBSOCKETS],
            errors=page[Slot.ERRORS],
            beat_at=page[Slot.BEAT_AT] / NANO,
            beat_every=page[Slot.BEAT_EVERY] / NANO,
            stopped_since=page[Slot.STOPPED_SINCE] / NANO,
            exited_at=page[Slot.EXITED_AT] / NANO,
            stopping_at=page[Slot.STOPPING_AT] / NANO,
        )

    def close(self) -> None:
        for tenant in list(self._mappings):
            self._forget(tenant)

    def __contains__(self, tenant: object) -> bool:
        return tenant in self._pages

    def __iter__(self) -> Iterator[str]:
        return iter(self._pages)

    def __len__(self) -> int:
        return len(self._pages)

    def _map(self, tenant: str, descriptor: int, inode: int) -> None:
        memory = mmap.mmap(descriptor, PAGE_SIZE, access=mmap.ACCESS_READ)
        mapping = Mapping(inode, memory, memoryview(memory).cast("Q"))
        if mapping.page[Slot.MAGIC] != MAGIC:
            mapping.close()
            return
        self._mappings[tenant] = mapping
        self._pages[tenant] = mapping.page

    def _forget(self, tenant: str) -> None:
        mapping = self._mappings.pop(tenant, None)
        if mapping:
            del self._pages[tenant]
            self._beating.discard(tenant)
            mapping.close()
