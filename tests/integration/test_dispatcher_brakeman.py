"""Who counts as in trouble: by real score pages, and by answers to questions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.events import BrakeOff, BrakeOn
from services.dispatcher.brake import BrakeRules, Position
from services.dispatcher.brakeman import Brakeman
from services.dispatcher.sense import NANO, Pages
from services.score import Slot
from tests.integration.pages import ScorePage

RULES = BrakeRules(share=0.3, minimum=5, pace=60.0, calm=5.0)
TENANTS = 20


class Crowd:
    """Twenty tenants with pages, a brakeman, and what he says."""

    def __init__(self, directory: Path) -> None:
        self.written = [ScorePage(directory / f"t{number}", pid=number) for number in range(TENANTS)]
        self.pages = Pages(directory)
        self.pages.scan()
        self.said: list[BrakeOn | BrakeOff] = []
        self.brakeman = Brakeman(RULES, self.pages, 5.0, self.said.append)

    def busy(self, count: int, since: float) -> None:
        for page in self.written[:count]:
            page[Slot.BUSY_SINCE] = int(since * NANO)


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    crowd = Crowd(tmp_path)
    yield crowd
    crowd.pages.close()
    for page in crowd.written:
        page.close()


@pytest.mark.parametrize(("count", "allowed"), [(5, True), (6, False)])
def test_who_is_half_of_the_way_counts(crowd: Crowd, count: int, allowed: object) -> None:
    crowd.busy(count, since=97.4)
    assert crowd.brakeman.allows({}, 100.0) is allowed
    assert [type(event) for event in crowd.said] == ([] if allowed else [BrakeOn])


def test_of_those_who_serve_the_share_counts(crowd: Crowd) -> None:
    crowd.busy(5, since=90.0)
    for page in crowd.written[6:]:  # they sleep, or were stopped
        page[Slot.EXITED_AT] = 80 * NANO
    assert not crowd.brakeman.allows({}, 100.0)
    assert isinstance(crowd.said[0], BrakeOn)
    assert crowd.said[0].reason.startswith("5 of 6 tenants do not work: something that they share is wrong;")


def test_who_starts_or_ends_is_in_no_trouble(crowd: Crowd) -> None:
    crowd.busy(12, since=90.0)
    for page in crowd.written[:6]:
        page[Slot.READY_AT] = 0
    for page in crowd.written[6:9]:
        page[Slot.STOPPING_AT] = 95 * NANO
    assert crowd.brakeman.allows({}, 100.0)


def test_who_was_busy_for_a_moment_does_not(crowd: Crowd) -> None:
    crowd.busy(TENANTS, since=97.6)
    assert crowd.brakeman.allows({}, 100.0)


def test_who_was_convicted_lately_counts(crowd: Crowd) -> None:
    for number in range(6):
        assert crowd.brakeman.allows({}, 100.0 + number)
        crowd.brakeman.passed(f"t{number}", 100.0 + number)
    assert not crowd.brakeman.allows({}, 107.0)


def test_long_ago_does_not(crowd: Crowd) -> None:
    for number in range(6):
        crowd.brakeman.passed(f"t{number}", 100.0 + number)
    assert crowd.brakeman.allows({}, 161.5)


@pytest.mark.parametrize(("well", "allowed"), [(2, False), (14, True)])
def test_of_the_quiet_ones_the_share_of_those_asked_counts(crowd: Crowd, well: int, allowed: object) -> None:
    for number in range(5 + well):
        crowd.brakeman.checked(f"t{number}", failed=number < 5, now=100.0)
    assert crowd.brakeman.allows({}, 101.0) is allowed


def test_what_was_asked_long_ago_does_not(crowd: Crowd) -> None:
    for number in range(5):
        crowd.brakeman.checked(f"t{number}", failed=True, now=100.0)
    assert crowd.brakeman.allows({}, 110.5)


def test_it_says_when_it_goes_off(crowd: Crowd) -> None:
    crowd.busy(10, since=90.0)
    assert not crowd.brakeman.allows({}, 100.0)
    crowd.busy(TENANTS, since=0.0)
    for at in range(101, 108):
        crowd.brakeman.look({}, float(at))
    assert [type(event) for event in crowd.said] == [BrakeOn, BrakeOff]
    assert crowd.brakeman.brake.position is Position.OFF
    assert crowd.said[0].subject == "dispatcher"
