"""Real pages in shared memory, real processes in /proc."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from services.dispatcher.kernel import sample
from services.dispatcher.sense import NANO, Pages
from services.score import PAGE_SIZE, Slot
from tests.integration.pages import ScorePage


class Fill(Protocol):
    def __call__(self, tenant: str, pid: int = 0, started: int = 0) -> ScorePage: ...


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    pages = Pages(tmp_path)
    yield pages
    pages.close()


@pytest.fixture
def fill(tmp_path: Path) -> Iterator[Fill]:
    made: list[ScorePage] = []

    def fill(tenant: str, pid: int = 0, started: int = 0) -> ScorePage:
        made.append(ScorePage(tmp_path / tenant, pid=pid, started=started))
        return made[-1]

    yield fill
    for page in made:
        page.close()


def test_pages_come_and_go(pages: Pages, fill: Fill) -> None:
    fill("a", pid=1)
    page = fill("b", pid=2)
    assert pages.scan() == {"a", "b"}
    assert pages.scan() == set()
    page.file.unlink()
    assert pages.scan() == {"b"}
    assert list(pages) == ["a"]
    assert pages.read("b") is None


def test_a_replaced_page_is_read_anew(pages: Pages, fill: Fill) -> None:
    fill("a", pid=1)
    pages.scan()
    fill("a", pid=2)
    pages.refresh("a")
    sight = pages.read("a")
    assert sight
    assert sight.pid == 2
    fill("a", pid=3)
    assert pages.scan() == {"a"}


def test_a_page_written_again_needs_no_new_mapping(pages: Pages, fill: Fill) -> None:
    page = fill("a", pid=1)
    pages.scan()
    page[Slot.PID] = 9
    sight = pages.read("a")
    assert sight
    assert sight.pid == 9


def test_what_is_no_page_is_left_alone(pages: Pages, fill: Fill, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "empty").write_bytes(bytes(PAGE_SIZE))
    (tmp_path / ".draft").write_bytes(bytes(PAGE_SIZE))
    assert pages.scan() == {"short", "empty"}
    assert len(pages) == 0
    fill("empty", pid=4)
    pages.scan()
    assert list(pages) == ["empty"]


@pytest.mark.parametrize("name", ["a/b", "..", "a\0b", "a" * 300])
def test_what_is_no_name_of_a_tenant_has_no_page(pages: Pages, fill: Fill, name: str) -> None:
    fill("a", pid=1)
    pages.refresh(name)
    assert pages.read(name) is None


def test_looks_past_idle_and_briefly_busy_tenants(pages: Pages, fill: Fill) -> None:
    fill("idle")
    fill("busy")[Slot.BUSY_SINCE] = 100 * NANO
    fill("stopped")[Slot.STOPPED_SINCE] = 200 * NANO
    for name, slot in (("dead", Slot.EXITED_AT), ("ending", Slot.STOPPING_AT)):
        page = fill(name)
        page[Slot.BUSY_SINCE] = page[slot] = 100 * NANO
    starting = fill("starting")
    starting[Slot.BUSY_SINCE], starting[Slot.READY_AT] = 100 * NANO, 0
    fill("beating")[Slot.BEAT_EVERY] = 2 * NANO
    pages.scan()
    assert sorted(pages.look(before=99.9)) == ["beating", "stopped"]
    assert sorted(pages.look(before=100.0)) == ["beating", "busy", "stopped"]


def test_beats_may_begin_at_any_time(pages: Pages, fill: Fill) -> None:
    page = fill("a")
    pages.scan()
    pages.refresh("a")
    page[Slot.BEAT_EVERY] = 2 * NANO
    pages.scan()
    assert pages.look(before=0.0) == ["a"]
    page[Slot.BEAT_EVERY] = 0
    pages.scan()
    assert pages.look(before=0.0) == []


def test_reads_seconds(pages: Pages, fill: Fill) -> None:
    page = fill("a", pid=7, started=70)
    page[Slot.BUSY_SINCE] = 1_500_000_000
    page[Slot.LOOPS] = 12
    page[Slot.REQUESTS] = 3
    page[Slot.BEAT_EVERY] = NANO // 4
    pages.scan()
    sight = pages.read("a")
    assert sight
    assert (sight.pid, sight.started, sight.loops, sight.requests) == (7, 70, 12, 3)
    assert (sight.busy_since, sight.beat_every) == (1.5, 0.25)
    assert sight.serving


def test_reading_a_page_needs_no_open_file_of_the_tenant(pages: Pages, fill: Fill) -> None:
    page = fill("a", pid=7)
    pages.scan()
    page.file.unlink()
    sight = pages.read("a")  # until the next scan: the memory outlives its name
    assert sight
    assert sight.pid == 7


@pytest.mark.parametrize("name", [b"a) R (b", b"caf\xc3"])
def test_evidence_of_a_process_with_a_strange_name(tmp_path: Path, name: bytes) -> None:
    strange = tmp_path / os.fsdecode(name)
    strange.symlink_to(sys.executable)
    with subprocess.Popen([strange, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            found = sample(process.pid)
            assert found
            assert found.state in "RSD"
            assert found.started > 0
            assert found.wchan
        finally:
            process.kill()
            process.wait()
        assert sample(process.pid) is None


def test_evidence_of_ourselves() -> None:
    found = sample(os.getpid())
    assert found
    assert found.state == "R"
    assert found.parent
