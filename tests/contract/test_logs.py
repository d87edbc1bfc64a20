"""One suite over both ways to take the head off a file: cut it off (ext4, xfs), make it a hole (tmpfs)."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bus import log_files
from bus.log_files import Mark, State
from bus.log_reader import Lines, Log
from services.reactor import holes, log_cut
from services.reactor.log_cut import CutLog

BLOCK = 4096


class Tenant:
    """Writes numbered lines, and never opens its file again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._descriptor = os.open(directory / log_files.LIVE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._numbers = count()
        self.said: list[bytes] = []

    def say(self, lines: int) -> None:
        said = [b"line %d %b" % (next(self._numbers), b"x" * 60) for _ in range(lines)]
        os.write(self._descriptor, b"".join(line + b"\n" for line in said))
        self.said += said

    def close(self) -> None:
        os.close(self._descriptor)


class Method:
    """A filesystem, and what is done on it with a head that has been copied."""

    def __init__(self, root: Path, *, collapse: bool) -> None:
        self.root, self.collapses = root, collapse

    def tidy(self, kept: CutLog) -> None:
        if self.collapses:
            kept.tidy()


def can_collapse(root: Path) -> bool:
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(bytes(2 * BLOCK))
        file.flush()
        try:
            holes.collapse(file.fileno(), BLOCK)
        except OSError:
            return False
        return True


@pytest.fixture(params=["collapse", "punch", "punch on tmpfs"])
def method(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Method]:
    if request.param == "collapse" and not can_collapse(tmp_path):
        pytest.skip("this filesystem cannot cut files at their head")
    root = Path("/dev/shm") if "tmpfs" in request.param else tmp_path
    with tempfile.TemporaryDirectory(dir=root) as directory:
        yield Method(Path(directory), collapse=request.param == "collapse")


@pytest.fixture
def tenant(method: Method) -> Iterator[Tenant]:
    tenant = Tenant(method.root)
    yield tenant
    tenant.close()


def read(directory: Path, at: int = 0) -> list[bytes]:
    reading, found = Lines(Log(directory), at), []
    while (lines := reading.read()) is not None:
        found += lines
    return found + reading.unfinished()


def test_rotated_lines_are_read_whole_and_once(method: Method, tenant: Tenant) -> None:
    for round_ in range(5):
        tenant.say(200)
        kept = CutLog(method.root)
        kept.cut(2 * BLOCK, 100.0 + round_)
        assert read(method.root) == tenant.said
        method.tidy(kept)
        tenant.say(3)
        assert read(method.root) == tenant.said
    assert [piece.end - piece.start for piece in log_files.pieces(method.root)] == 5 * [2 * BLOCK]
    assert [piece.time for piece in log_files.pieces(method.root)] == [100.0, 101.0, 102.0, 103.0, 104.0]


def test_disk_space_is_given_back(method: Method, tenant: Tenant) -> None:
    tenant.say(2000)
    kept = CutLog(method.root)
    before = (method.root / log_files.LIVE).stat()
    kept.cut(20 * BLOCK, 0.0)
    method.tidy(kept)
    after = (method.root / log_files.LIVE).stat()
    assert before.st_ino == after.st_ino
    assert after.st_blocks * 512 <= before.st_size - 20 * BLOCK + 2 * BLOCK
    assert after.st_size == before.st_size - (20 * BLOCK if method.collapses else 0)
    assert kept.live == before.st_size - 20 * BLOCK


def test_a_keeper_goes_on_where_another_was(method: Method, tenant: Tenant) -> None:
    tenant.say(500)
    kept = CutLog(method.root)
    kept.cut(3 * BLOCK, 0.0)
    method.tidy(kept)
    tenant.say(500)
    again = CutLog(method.root)
    kept.look()
    assert (again.written, again.live, again.pieces) == (kept.written, kept.live, kept.pieces)
    assert again.written == sum(len(line) + 1 for line in tenant.said)


def test_killed_before_the_piece_has_its_name(method: Method, tenant: Tenant) -> None:
    tenant.say(500)
    (method.root / ".output.piece").write_bytes(b"half of it")
    assert read(method.root) == tenant.said
    CutLog(method.root)
    assert not (method.root / ".output.piece").exists()
    assert read(method.root) == tenant.said


def test_killed_between_piece_and_hole(method: Method, tenant: Tenant) -> None:
    tenant.say(500)
    CutLog(method.root)  # notes where the file stands, as every keeper does first
    piece = log_files.Piece(0, 2 * BLOCK, 2 * BLOCK, 0.0)
    (method.root / piece.name).write_bytes((method.root / log_files.LIVE).read_bytes()[: 2 * BLOCK])
    assert read(method.root) == tenant.said
    kept = CutLog(method.root)
    method.tidy(kept)
    assert read(method.root) == tenant.said
    assert (method.root / log_files.LIVE).read_bytes()[: 2 * BLOCK] != (method.root / piece.name).read_bytes()


@pytest.mark.parametrize("collapsed", [False, True])
def test_killed_around_the_collapse(method: Method, tenant: Tenant, *, collapsed: bool) -> None:
    tenant.say(500)
    kept = CutLog(method.root)
    kept.cut(2 * BLOCK, 0.0)
    log_files.write_state(method.root, kept.state._replace(collapsing=2 * BLOCK))
    if collapsed:
        if not method.collapses:
            return  # it cannot be killed there
        with (method.root / log_files.LIVE).open("r+b") as file:
            holes.collapse(file.fileno(), 2 * BLOCK)
    tenant.say(500)
    assert read(method.root) == tenant.said
    again = CutLog(method.root)
    assert again.state.base == (2 * BLOCK if collapsed else 0)
    method.tidy(again) if again.hole else None
    tenant.say(5)
    assert read(method.root) == tenant.said


def dies_after(lines: int, work: Callable[[], None]) -> bool:
    """Do something in a process that is killed before so many lines of ours; tells whether it was."""
    pid = os.fork()
    if not pid:
        left = lines

        def count_down(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
            nonlocal left
            if frame.f_code.co_filename not in (log_cut.__file__, log_files.__file__, holes.__file__):
                return None
            left -= event == "line"
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return count_down

        sys.settrace(count_down)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("skip", [False, True])
def test_killed_anywhere(method: Method, *, skip: bool) -> None:
    def work() -> None:
        kept = CutLog(directory)
        (kept.skip if skip else kept.cut)(2 * BLOCK, 0.0)
        method.tidy(kept)

    killed = True
    for lines in count(1):
        if not killed:
            assert lines > 50
            return
        with tempfile.TemporaryDirectory(dir=method.root) as name:
            directory = Path(name)
            tenant = Tenant(directory)
            tenant.say(200)
            CutLog(directory).cut(BLOCK, 0.0)
            tenant.say(300)
            killed = dies_after(lines, work)
            tenant.say(3)
            check_lines(tenant, skipped=skip)
            after = CutLog(directory)
            method.tidy(after) if after.hole else None
            tenant.say(3)
            check_lines(tenant, skipped=skip)
            after.look()
            assert after.written == sum(len(line) + 1 for line in tenant.said)
            after.cut(BLOCK, 0.0)
            check_lines(tenant, skipped=skip)
            tenant.close()


def check_lines(tenant: Tenant, *, skipped: bool) -> None:
    lines = read(tenant.directory)
    notes = [line for line in lines if line.startswith(b"tenantbus: ")]
    if not skipped or not notes:
        assert lines == tenant.said
        return
    place = lines.index(notes[0])
    before, after = lines[:place], lines[place + 1 :]
    assert before == tenant.said[:place]
    assert after == tenant.said[-len(after) :]


def test_lost_state_is_found_again(method: Method, tenant: Tenant) -> None:
    tenant.say(500)
    kept = CutLog(method.root)
    kept.cut(2 * BLOCK, 0.0)
    method.tidy(kept)
    (method.root / log_files.STATE).write_bytes(b"")
    assert read(method.root) == tenant.said
    assert CutLog(method.root).state == kept.state


def test_what_is_skipped_is_said_between_whole_lines(method: Method, tenant: Tenant) -> None:
    tenant.say(300)
    kept = CutLog(method.root)
    kept.cut(2 * BLOCK, 0.0)
    tenant.say(2000)
    kept.look()
    dropped = kept.skip(10 * BLOCK, 0.0)
    method.tidy(kept)
    lines = read(method.root)
    said = b"tenantbus: %d bytes dropped" % dropped
    place = lines.index(said)
    assert lines[:place] == tenant.said[:place]
    rest = len(lines) - place - 1
    assert lines[place + 1 :] == tenant.said[-rest:]
    gone = tenant.said[place:-rest]
    assert dropped == sum(len(line) + 1 for line in gone)


def test_dropped_pieces_leave_whole_lines(method: Method, tenant: Tenant) -> None:
    tenant.say(1000)
    kept = CutLog(method.root)
    for _ in range(4):
        kept.cut(BLOCK, 0.0)
    method.tidy(kept)
    for _ in range(3):
        kept.drop(kept.pieces[0])
        lines = read(method.root)
        assert lines == tenant.said[-len(lines) :]
    kept.drop(kept.pieces[0])
    again = CutLog(method.root)
    assert again.written == sum(len(line) + 1 for line in tenant.said)
    assert again.live == kept.live == again.written - 4 * BLOCK
    for each in (again, CutLog(method.root)):
        lines = read(method.root)
        assert lines == tenant.said[-len(lines) :]
        each.cut(BLOCK, 0.0)
        each.drop(each.pieces[0])
        assert read(method.root)[-1] == tenant.said[-1]


def test_reading_from_the_middle_of_anything(method: Method, tenant: Tenant) -> None:
    tenant.say(300)
    kept = CutLog(method.root)
    kept.cut(2 * BLOCK, 0.0)
    method.tidy(kept)
    end = 0
    for number, line in enumerate(tenant.said):
        assert read(method.root, end) == tenant.said[number:]
        end += len(line) + 1
        assert read(method.root, end - 1) == tenant.said[number + 1 :]


def test_a_reader_goes_on_over_rotations(method: Method, tenant: Tenant) -> None:
    reading = Lines(Log(method.root), 0)
    found: list[bytes] = []
    for _ in range(6):
        tenant.say(150)
        if len(found) % 2:
            found += reading.read() or []
        kept = CutLog(method.root)
        kept.cut(2 * BLOCK, 0.0)
        found += reading.read() or []
        method.tidy(kept)
    while (lines := reading.read()) is not None:
        found += lines
    assert found == tenant.said


def test_a_reader_who_was_overtaken_goes_on_with_whole_lines(method: Method, tenant: Tenant) -> None:
    tenant.say(10)
    reading = Lines(Log(method.root), 0)
    found = reading.read() or []
    tenant.say(2000)
    kept = CutLog(method.root)
    kept.skip(20 * BLOCK, 0.0)
    while (lines := reading.read()) is not None:
        found += lines
    assert found[:10] == tenant.said[:10]
    said = [line for line in found if line.startswith(b"tenantbus")]
    assert len(said) == 1
    rest = found[found.index(said[0]) + 1 :]
    assert rest == tenant.said[-len(rest) :]


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_person_may_remove_or_empty_the_file(method: Method, tenant: Tenant, how: str) -> None:
    tenant.say(500)
    kept = CutLog(method.root)
    kept.cut(2 * BLOCK, 0.0)
    method.tidy(kept)
    kept.look()
    kept.mark(1000.0)
    other = tenant
    if how == "removed":
        (method.root / log_files.LIVE).unlink()
        other = Tenant(method.root)
    else:
        os.truncate(method.root / log_files.LIVE, 0)
    other.said.clear()
    other.say(100)
    assert not kept.look()
    again = CutLog(method.root)
    assert again.written == kept.marked.offset + sum(len(line) + 1 for line in other.said)
    assert read(method.root)[-99:] == other.said[-99:]
    again.cut(BLOCK, 0.0)
    method.tidy(again)
    assert read(method.root)[-99:] == other.said[-99:]
    other.close() if other is not tenant else None


def test_index_tells_what_had_been_written(method: Method, tenant: Tenant) -> None:
    kept = None
    ends = []
    for time in (1000.0, 2000.0, 3000.0):
        tenant.say(100)
        kept = kept or CutLog(method.root)
        kept.look()
        kept.mark(time)
        ends.append(kept.written)
    log = Log(method.root)
    assert [log.offset_at(time) for time in (500, 1000, 2500, 9000)] == [0, ends[0], ends[1], ends[2]]
    assert read(method.root, log.offset_at(2500)) == tenant.said[200:]


def test_a_long_index_is_thinned(method: Method, tenant: Tenant) -> None:
    tenant.say(1)
    kept = CutLog(method.root)
    log_files.replace(
        method.root / log_files.INDEX, log_files.write_marks([Mark(1000.0 + i, 0) for i in range(4096)])
    )
    kept.mark(9000.0)
    marks = log_files.read_index(method.root)
    assert len(marks) < 4096
    assert marks[-1] == Mark(9000.0, kept.written)


def test_a_link_in_place_of_the_log_is_not_followed(method: Method, tenant: Tenant) -> None:
    tenant.say(500)
    (method.root / "real").write_bytes(b"secret\n" * 5000)
    (method.root / log_files.LIVE).unlink()
    (method.root / log_files.LIVE).symlink_to(method.root / "real")
    with pytest.raises(OSError, match="symbolic links"):
        CutLog(method.root)
    (method.root / log_files.LIVE).unlink()
    os.mkfifo(method.root / log_files.LIVE)
    with pytest.raises(OSError, match="no plain file"):
        CutLog(method.root)


def test_state_survives_as_it_was_written(method: Method) -> None:
    log_files.write_state(method.root, State(7, 8, 9))
    assert log_files.read_state(method.root) == State(7, 8, 9)
