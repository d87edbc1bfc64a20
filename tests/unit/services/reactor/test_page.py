"""The fork server's copy of the score page's layout is the one that services read."""

import os
import sys
from pathlib import Path

from services.reactor.tenantbus_fork import page
from services.score import MAGIC, PAGE_SIZE, Slot


def test_both_layouts_are_the_same() -> None:
    ours = {slot.name: slot.value for slot in Slot}
    assert {name: getattr(page, name) for name in ours} == ours
    assert len(ours) == page.SLOTS
    assert (page.SIZE, page.MAGIC_VALUE) == (PAGE_SIZE, MAGIC)


def test_a_page_begins_anew_for_each_process() -> None:
    descriptor = os.memfd_create("page")
    os.truncate(descriptor, PAGE_SIZE)
    page.put(descriptor, requests=7, exited_at=9)
    page.begin(descriptor, pid=42, started=4711)
    numbers = list(page.open_page(descriptor)[: page.SLOTS])
    expected = [0] * page.SLOTS
    expected[Slot.MAGIC], expected[Slot.PID], expected[Slot.STARTED] = MAGIC, 42, 4711
    assert numbers == expected


def test_what_maps_a_page_for_good_could_not_shorten_it() -> None:
    descriptor = os.memfd_create("to be mapped")
    os.truncate(descriptor, PAGE_SIZE)
    other = os.dup(descriptor)
    page.open_page(descriptor)[Slot.REQUESTS] = 7
    assert os.pread(other, 8, 8 * Slot.REQUESTS) == (7).to_bytes(8, sys.byteorder)
    os.close(other)
    links = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert not [link for link in links if "to be mapped" in link]
