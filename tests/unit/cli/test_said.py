import os
from pathlib import Path

import pytest

from bus.events import AnyEvent, Envelope, ProcBackoff, ProcExited, ProcFatal, ProcStarted
from cli.said import LINES, WIDTH, excerpt
from tests.unit.cli.envelopes import envelope

STARTED = ProcStarted(tenant="acme", pid=7)
EXITED = ProcExited(tenant="acme", pid=7, code=3)
FATAL = ProcFatal(tenant="acme", reason="ended with exit code 3")
BEFORE_IT, WHILE_IT_RAN = 0.5, 2.5


def chain(*events: AnyEvent) -> list[Envelope]:
    return [envelope(number, event) for number, event in enumerate(events, 2)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "output.log").write_text("")
    return tmp_path


def write(log: Path, text: str, at: float = WHILE_IT_RAN) -> None:
    file = log / "output.log"
    file.write_text(text)
    os.utime(file, (at, at))


@pytest.mark.parametrize("failure", [FATAL, ProcBackoff(tenant="acme")])
def test_the_last_lines_of_what_failed_are_shown(log: Path, failure: AnyEvent) -> None:
    write(log, "".join(f"line {number}\n" for number in range(100)) + "no licence\x07" + WIDTH * "!")
    title, *lines, last = excerpt("acme", chain(STARTED, EXITED, failure), log)
    assert "`bus logs acme`" in title
    assert lines[-1] == "    line 99"
    assert len(lines) == LINES - 1
    assert last.startswith("    no licence")
    assert last.endswith("!...")
    assert "\x07" not in last


def test_what_another_process_said_is_not_taken_for_it(log: Path) -> None:
    write(log, "all is well\n", BEFORE_IT)
    (line,) = excerpt("acme", chain(STARTED, EXITED, FATAL), log)
    assert line.startswith("It said nothing.")


def test_who_has_no_process_or_a_good_one_is_not_quoted(log: Path) -> None:
    write(log, "all is well\n")
    assert excerpt("acme", chain(FATAL), log) == []
    assert excerpt("acme", chain(STARTED, EXITED, STARTED), log) == []
    assert excerpt("acme", [], log) == []


def test_where_it_would_be_is_told_to_who_cannot_read_it(tmp_path: Path) -> None:
    (line,) = excerpt("acme", chain(STARTED, EXITED, FATAL), tmp_path / "gone")
    assert str(tmp_path / "gone") in line
