import io
import json
import re

import msgspec
import pytest

from bus.events import DbDown
from cli import render
from cli.view import TenantRow
from tests.unit.cli.envelopes import envelope

ROWS = [
    TenantRow("acme", "RUNNING", 7, "shop-1", "db1", 8400, 3_600.0, 0, ""),
    TenantRow("a-long-name", "INVALID", None, None, None, None, None, 12, "tenant.toml:3: \x1b[31mred\nline"),
]


def lines(*, colours: bool = False) -> list[str]:
    return render.table(TenantRow._fields, ROWS, now=3_600.0, colours=colours)


def test_columns_line_up_and_numbers_stand_to_the_right() -> None:
    header, first, second = lines()
    assert header.split() == [name.upper() for name in TenantRow._fields]
    for name in ("STATE", "RELEASE", "DATABASE", "SINCE"):
        at = header.index(name)
        assert first[at - 1] == second[at - 1] == " "
        assert first[at] != " "
        assert second[at] != " "
    right = header.index("RESTARTS") + len("RESTARTS")
    assert first[:right].endswith(" 0")
    assert second[:right].endswith(" 12")


def test_what_is_not_known_is_a_dash_and_no_line_ends_in_blanks() -> None:
    assert lines()[2].split()[:6] == ["a-long-name", "INVALID", "-", "-", "-", "-"]
    assert all(line == line.rstrip() for line in lines())


def test_what_others_wrote_cannot_reach_the_terminal() -> None:
    assert lines()[2].endswith("tenant.toml:3: ?[31mred line")


def test_colours_change_nothing_but_colours() -> None:
    coloured = lines(colours=True)
    assert coloured != lines()
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == lines()


def test_a_table_without_rows_is_its_header() -> None:
    assert len(render.table(TenantRow._fields, [], now=0.0, colours=False)) == 1


def test_json_is_an_array_of_objects_with_the_column_names() -> None:
    first, second = json.loads(render.as_json(ROWS))
    assert list(first) == list(TenantRow._fields)
    assert first["pid"] == 7
    assert second["pid"] is None
    assert json.loads(render.as_json([])) == []


def test_the_date_is_shown_when_it_is_not_todays() -> None:
    assert len(render.moment(1_000_000.0, 1_000_000.0)) == len("12:00:00")
    assert render.moment(1_000_000.0, 9_000_000.0).startswith("1970-01-1")
    assert render.moment(None, 0.0) == "-"


EVENT = envelope(12, DbDown(database="db1", reason="refused"), time=1_000_000.25, cause=7)


def test_an_event_is_one_line_that_ends_with_its_cause() -> None:
    line = render.event_line(EVENT, "refused", colours=False)
    assert line.split()[1:] == ["12", "DB_DOWN", "db1", "refused", "<-", "7"]
    assert line.split()[0].endswith(".250")
    other = render.event_line(envelope(1_234, DbDown(database="a", reason="x")), "x", colours=False)
    assert other.index("DB_DOWN") == line.index("DB_DOWN")


def test_an_event_as_json_has_all_that_the_bus_knows() -> None:
    text = render.event_json(EVENT)
    assert "\n" not in text
    found = msgspec.json.decode(text)
    assert (found["seq"], found["type"], found["cause"]) == (12, "DB_DOWN", 7)
    assert found["event"] == {"database": "db1", "reason": "refused", "latency": 0.0, "since": 0.0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *, wanted: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert render.coloured(Terminal()) is wanted
