import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from bus.errors import FileError
from bus.events import DbDown, DbMisconfigured
from bus.sections import DatabaseSettings
from bus.settings import Settings
from services.dbwatch.decide import Outcome
from services.dbwatch.mysql import MySql
from services.dbwatch.probe import DownError, MisconfiguredError, Progress
from services.dbwatch.reading import Reading
from services.dbwatch.sense import LEFT_MAX, Ear, Kennel, Watchdog, find, open_canary, open_probe
from services.dbwatch.sqlite import Sqlite

WAIT = 20.0


class Scripted:
    """A probe that does what a test tells it: gives a word, raises, or hangs until it is cut."""

    def __init__(self, outcome: str | Exception = "", *, hangs: bool = False, cuttable: bool = True) -> None:
        self.outcome = outcome
        self.hangs = threading.Event()
        self.cuttable = cuttable
        if not hangs:
            self.hangs.set()

    def check(self, reached: Progress) -> Reading:
        reading = Reading(server=str(self.outcome))
        reached(reading)
        self.hangs.wait(WAIT)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return reading

    def cut(self) -> None:
        if self.cuttable:
            self.hangs.set()


class Pack:
    """A kennel whose watchdogs carry scripted probes, and what they reported."""

    def __init__(self) -> None:
        self.reports: SimpleQueue[tuple[int, Outcome]] = SimpleQueue()
        self.reached: SimpleQueue[tuple[int, Reading]] = SimpleQueue()
        self.probes: list[Scripted] = []
        self.watchdogs: list[Watchdog] = []
        self.next = Scripted("fine")
        self.kennel = Kennel("db1", self._make)

    def _make(self) -> Watchdog:
        self.probes.append(self.next)
        ear = Ear(
            lambda task, reading: self.reached.put((task, reading)),
            lambda task, outcome: self.reports.put((task, outcome)),
        )
        self.watchdogs.append(Watchdog("db1", self.next, ear))
        return self.watchdogs[-1]


@pytest.fixture
def pack() -> Iterator[Pack]:
    pack = Pack()
    yield pack
    pack.kennel.replace()
    for probe in pack.probes:
        probe.hangs.set()
    for watchdog in pack.watchdogs:
        watchdog._thread.join(WAIT)
        assert not watchdog.alive


@pytest.mark.parametrize(
    ("outcome", "type_", "key", "reason"),
    [
        (DownError("Connection refused"), DbDown, "", "Connection refused"),
        (DownError("\x1b[31mred\n" + "x" * 9999), DbDown, "", " [31mred " + "x" * 291),
        (MisconfiguredError("url", "no schema"), DbMisconfigured, "databases.db1.url", "no schema"),
        (
            FileError("x.toml", "pw: gone", key="databases.db1.x"),
            DbMisconfigured,
            "databases.db1.x",
            "pw: gone",
        ),
    ],
)
def test_what_keeps_a_database_from_answering_becomes_a_finding(
    outcome: str | Exception, type_: type, key: str, reason: str
) -> None:
    finding = find("db1", Scripted(outcome), lambda _: None)
    assert not isinstance(finding, Reading)
    assert type(finding) is type_
    assert finding.database == "db1"
    assert finding.reason == reason
    assert getattr(finding, "key", "") == key
    assert finding.latency >= 0


def test_one_watchdog_does_task_after_task(pack: Pack) -> None:
    for task in (1, 2, 3):
        pack.kennel.hand_out(task)
        assert pack.reached.get(timeout=WAIT) == (task, Reading(server="fine"))
        assert pack.reports.get(timeout=WAIT) == (task, Reading(server="fine"))
    assert len(pack.watchdogs) == 1


def test_watchdog_that_hangs_is_cut_and_ends(pack: Pack) -> None:
    pack.next = Scripted("late", hangs=True)
    pack.kennel.hand_out(1)
    pack.kennel.replace()
    pack.watchdogs[0]._thread.join(WAIT)
    assert not pack.watchdogs[0].alive
    pack.next = Scripted("fine")
    pack.kennel.hand_out(2)
    reports = dict([pack.reports.get(timeout=WAIT), pack.reports.get(timeout=WAIT)])
    assert reports[2] == Reading(server="fine")


def test_watchdogs_that_cannot_be_cut_are_bounded(pack: Pack) -> None:
    pack.next = Scripted("late", hangs=True, cuttable=False)
    for task in range(1, LEFT_MAX + 10):
        pack.kennel.hand_out(task)
        pack.kennel.replace()
        pack.next = Scripted("late", hangs=True, cuttable=False)
    assert len(pack.watchdogs) == LEFT_MAX


def test_room_is_made_by_a_watchdog_that_ends_at_last(pack: Pack) -> None:
    for task in range(1, LEFT_MAX + 3):
        pack.next = Scripted("late", hangs=True, cuttable=False)
        pack.kennel.hand_out(task)
        pack.kennel.replace()
    pack.probes[0].hangs.set()
    pack.watchdogs[0]._thread.join(WAIT)
    assert pack.reports.get(timeout=WAIT)[0] == 1
    pack.next = Scripted("fine")
    pack.kennel.hand_out(99)
    assert pack.reports.get(timeout=WAIT) == (99, Reading(server="fine"))


def test_who_asks_for_a_fresh_watchdog_gets_one_also_when_too_many_hang(pack: Pack) -> None:
    for task in range(1, LEFT_MAX + 3):
        pack.next = Scripted("late", hangs=True, cuttable=False)
        pack.kennel.hand_out(task)
        pack.kennel.replace()
    pack.next = Scripted("fine")
    pack.kennel.renew()
    pack.kennel.hand_out(99)
    assert pack.reports.get(timeout=WAIT) == (99, Reading(server="fine"))


def test_driver_is_chosen_by_the_url(tmp_path: Path) -> None:
    databases = {
        "small": DatabaseSettings(url="sqlite:///data/x.db"),
        "large": DatabaseSettings(url="mysql://u@127.0.0.1/s", password_env="TB_NO_SUCH_VARIABLE"),
    }
    settings = Settings(databases=databases, file=str(tmp_path / "tenantbus.toml"))
    small = open_probe(settings, "small", None)
    assert isinstance(small, Sqlite)
    missing = find("small", small, lambda _: None)
    assert isinstance(missing, DbDown)
    assert missing.reason == f"{tmp_path}/data: no such directory"
    large = open_probe(settings, "large", None)
    assert isinstance(large, MySql)
    finding = find("large", large, lambda _: None)
    assert isinstance(finding, DbMisconfigured)
    assert finding.key == "databases.large.password_env"


def test_canary_is_named_by_who_watches_and_what(tmp_path: Path) -> None:
    databases = {
        "one": DatabaseSettings(url="sqlite:///x.db"),
        "two": DatabaseSettings(url="sqlite:///x.db", canary=False),
    }
    settings = Settings(databases=databases, file=str(tmp_path / "tenantbus.toml"))
    canary = open_canary(settings, "one")
    assert canary is not None
    assert canary.watcher == f"{socket.gethostname()}/one"
    assert open_canary(settings, "two") is None
