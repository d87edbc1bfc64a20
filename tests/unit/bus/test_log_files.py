from pathlib import Path

import pytest

from bus import log_files
from bus.log_files import Mark, Piece, Seen, State, settle


@pytest.mark.parametrize(
    ("noted", "seen", "end", "written", "base"),
    [
        pytest.param(None, Seen(1, 100, 0), 0, 0, 0, id="a log that nobody has rotated"),
        pytest.param(None, Seen(1, 100, 0), 4096, 4100, 4096, id="the state is lost, the head was cut off"),
        pytest.param(None, Seen(1, 8192, 4096), 4096, 8192, 0, id="the state is lost, the head is a hole"),
        pytest.param(None, Seen(1, 100, 0), 0, 9000, 8900, id="state and pieces are lost"),
        pytest.param(State(1, 4096), Seen(1, 100, 0), 4096, 4100, 4096, id="as noted"),
        pytest.param(State(1, 0), Seen(1, 9000, 4096), 4096, 9000, 0, id="with a hole"),
        pytest.param(State(1, 0, 4096), Seen(1, 9000, 4096), 4096, 9000, 0, id="killed before the collapse"),
        pytest.param(State(1, 0, 4096), Seen(1, 5000, 0), 4096, 9000, 4096, id="killed after the collapse"),
        pytest.param(State(1, 0), Seen(2, 100, 0), 4096, 9000, 9000, id="another file"),
        pytest.param(State(1, 4096), Seen(1, 0, 0), 4096, 9000, 9000, id="emptied"),
    ],
)
def test_where_the_live_file_stands(
    noted: State | None, seen: Seen, end: int, written: int, base: int
) -> None:
    assert settle(noted, seen, end, written) == State(seen.inode, base)


def test_names_of_pieces_sort_like_what_they_cover(tmp_path: Path) -> None:
    made = [Piece(0, 9, 2, 5.0), Piece(9, 4096, 2, 5.0), Piece(4096, 10_000_000_000, 2, 5.0)]
    assert sorted(piece.name for piece in made) == [piece.name for piece in made]
    assert made[-1].name < log_files.LIVE
    for piece in made:
        (tmp_path / piece.name).write_bytes(b"x\n")
    (tmp_path / "output.log").touch()
    (tmp_path / "output.1-2.log").touch()
    assert [(piece.start, piece.end) for piece in log_files.pieces(tmp_path)] == [piece[:2] for piece in made]


def test_index_is_read_as_written(tmp_path: Path) -> None:
    assert log_files.newest_mark(tmp_path) == Mark(0, 0)
    assert log_files.read_index(tmp_path) == []
    marks = [Mark(1000.0, 5), Mark(2000.2, 6)]
    (tmp_path / log_files.INDEX).write_bytes(log_files.write_marks(marks))
    read = [Mark(1000, 5), Mark(2001, 6)]  # never earlier than it was
    assert log_files.read_index(tmp_path) == read
    assert log_files.newest_mark(tmp_path) == read[-1]


def test_torn_index_is_of_no_use_and_no_harm(tmp_path: Path) -> None:
    (tmp_path / log_files.INDEX).write_bytes(log_files.write_marks([Mark(1000.0, 5), Mark(2000.0, 6)])[:-3])
    assert log_files.newest_mark(tmp_path) == Mark(0, 0)
    assert log_files.read_index(tmp_path) == [Mark(1000, 5)]


@pytest.mark.parametrize("content", ["", "1 2\n", "a b c\n"])
def test_unreadable_state_is_none(tmp_path: Path, content: str) -> None:
    assert log_files.read_state(tmp_path) is None
    (tmp_path / log_files.STATE).write_text(content)
    assert log_files.read_state(tmp_path) is None
