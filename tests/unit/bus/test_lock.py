import os
from pathlib import Path

import pytest

from bus import lock
from bus.errors import AlreadyRunningError


def test_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    held = lock.hold(tmp_path / "x.lock", "the thing")
    with pytest.raises(AlreadyRunningError, match=rf"the thing is already running: .*pid {os.getpid()}"):
        lock.hold(tmp_path / "x.lock", "the thing")
    os.close(held)
    os.close(lock.hold(tmp_path / "x.lock", "the thing"))


def test_stale_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_text("999999999\nrubbish that is longer than a pid\n")
    held = lock.hold(tmp_path / "x.lock", "the thing")
    assert (tmp_path / "x.lock").read_text() == f"{os.getpid()}\n"
    os.close(held)
