"""What people asked for outlives the journal, and never speaks for another tenant or another journal."""

import json
from pathlib import Path

import pytest

from bus.events import RestartRequested, StartRequested, StopRequested
from services.reactor.actions import Found, Heard, Process
from services.reactor.adopt import in_journal
from services.reactor.requests import FILE, FORMER, Requests
from services.reactor.state import Order

STOP = StopRequested(tenant="acme", by="ann@here", reason="unpaid invoice")
START = StartRequested(tenant="acme", by="bob@here")


@pytest.fixture
def tenants(tmp_path: Path) -> Path:
    for name in ("acme", "bolt"):
        (tmp_path / name).mkdir()
    return tmp_path


def kept(tenants: Path, head: int = 100) -> list[Heard]:
    return list(Requests(tenants).recall(head))


def test_the_newest_is_told_again_word_for_word(tenants: Path) -> None:
    requests = Requests(tenants)
    requests.keep("acme", Order(seq=7, request=START))
    requests.keep("acme", Order(seq=9, request=STOP))
    assert kept(tenants) == [Heard(seq=9, event=STOP)]
    assert (tenants / "acme/run").stat().st_mode & 0o777 == 0o700


def test_what_is_known_is_not_written_again(tenants: Path) -> None:
    requests = Requests(tenants)
    requests.keep("acme", Order(seq=9, request=STOP))
    file = tenants / "acme/run" / FILE
    before = file.stat().st_ino
    requests.keep("acme", Order(seq=9, request=STOP, asked=3))
    again = Requests(tenants)
    assert list(again.recall(100))
    again.keep("acme", Order(seq=9, request=STOP))
    assert file.stat().st_ino == before


def test_a_request_of_another_journal_comes_before_all_of_this_one(tenants: Path) -> None:
    Requests(tenants).keep("acme", Order(seq=900, request=STOP))
    assert kept(tenants, head=12) == [Heard(seq=FORMER, event=STOP)]


def test_nothing_is_kept_of_a_tenant_that_was_deleted(tenants: Path) -> None:
    requests = Requests(tenants)
    requests.keep("acme", Order(seq=9, request=STOP))
    requests.keep("acme", Order(seq=10))
    requests.keep("acme", Order(seq=11))
    assert kept(tenants) == []


@pytest.mark.parametrize("name", ["nobody", "../acme", "a/b", ".", ""])
def test_requests_about_nobody_leave_no_file(tenants: Path, name: str) -> None:
    Requests(tenants).keep(name, Order(seq=9, request=STOP))
    assert [entry for entry in tenants.rglob("*") if entry.is_file()] == []


@pytest.mark.parametrize("spoil", ["", "{", "null", '{"seq": 1}', '{"seq": 1, "event": {"type": "DB_UP"}}'])
def test_a_half_written_file_is_not_believed(
    tenants: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    requests = Requests(tenants)
    requests.keep("acme", Order(seq=9, request=STOP))
    (tenants / "acme/run" / FILE).write_text(spoil)
    assert kept(tenants) == []
    assert f"acme/run/{FILE}" in caplog.text


def test_the_file_of_a_copied_directory_is_the_others(tenants: Path) -> None:
    Requests(tenants).keep("acme", Order(seq=9, request=STOP))
    (tenants / "bolt/run").mkdir()
    text = (tenants / "acme/run" / FILE).read_text()
    assert json.loads(text)["event"]["by"] == "ann@here"
    (tenants / "bolt/run" / FILE).write_text(text)
    assert kept(tenants) == [Heard(seq=9, event=STOP)]


def test_a_restart_that_another_journal_had_counts_no_more() -> None:
    process = Process(pid=1, started=1, boot="b")
    for stamp, expected in (("s@12", "s@12"), ("s@13", "s@0"), ("s@13@alone", "s@0@alone"), ("s", "s")):
        found = Found(
            tenant="acme", process=process, release="r", database="d", port=0, ready=True, stamp=stamp
        )
        assert in_journal(found, 12).stamp == expected


def test_order_tells_who_and_why() -> None:
    assert Order(request=STOP).words == "ann@here: unpaid invoice"
    assert Order(request=RestartRequested(tenant="acme", by="bob")).words == "bob"
    assert (Order().words, Order().stop, Order(request=STOP).stop) == ("", False, True)
