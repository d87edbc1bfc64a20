import hypothesis.strategies as st
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.dispatcher.queues import Round, TimeQueue

WIDTH = 0.5
NAMES = st.sampled_from("abcdef")


def test_comes_out_when_its_time_has_come_and_once() -> None:
    queue = TimeQueue(WIDTH)
    queue.put("late", 2.0)
    queue.put("early", 1.0)
    assert queue.pop_due(0.9) == []
    assert queue.pop_due(1.5) == ["early"]
    assert queue.pop_due(1.5) == []
    assert list(queue) == [("late", 2.0)]


def test_a_second_put_moves() -> None:
    queue = TimeQueue(WIDTH)
    queue.put("a", 1.0)
    queue.put("a", 9.0)
    assert len(queue) == 1
    assert queue.pop_due(5.0) == []
    assert queue.at("a") == 9.0


def test_deleted_names_do_not_come_out() -> None:
    queue = TimeQueue(WIDTH)
    queue.put("a", 1.0)
    assert queue.discard("a")
    assert not queue.discard("a")
    assert "a" not in queue
    assert queue.at("a") is None
    assert queue.pop_due(99.0) == []


def test_a_time_in_the_past_is_due() -> None:
    queue = TimeQueue(WIDTH)
    queue.put("now", 100.0)
    queue.pop_due(101.0)
    queue.put("now", 200.0)
    queue.put("past", 3.0)
    assert queue.pop_due(150.0) == ["past"]


def test_a_year_of_sleep_costs_what_is_queued() -> None:
    queue = TimeQueue(1e-9)
    queue.put("a", 1.0)
    queue.put("b", 0.5)
    assert queue.pop_due(3e7) == ["b", "a"]


@given(st.lists(st.floats(0, 1e6)), st.floats(0, 1e6))
def test_never_early_and_at_most_a_slot_late(times: list[float], now: float) -> None:
    queue = TimeQueue(WIDTH)
    for index, at in enumerate(times):
        queue.put(str(index), at)
    out = set(queue.pop_due(now))
    for index, at in enumerate(times):
        if str(index) in out:
            assert at <= now
        else:
            assert at > now - WIDTH
    assert [at for _, at in queue] == sorted(at for index, at in enumerate(times) if str(index) not in out)


class AgainstDict(RuleBasedStateMachine):
    """Whatever is done to it, the queue holds what a plain dict of times would."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = TimeQueue(WIDTH)
        self.model: dict[str, float] = {}
        self.now = 0.0

    @rule(name=NAMES, delay=st.floats(-3, 10))
    def put(self, name: str, delay: float) -> None:
        self.queue.put(name, self.now + delay)
        self.model[name] = self.now + delay

    @rule(name=NAMES)
    def discard(self, name: str) -> None:
        assert self.queue.discard(name) == (self.model.pop(name, None) is not None)

    @rule(step=st.floats(0, 20))
    def pop(self, step: float) -> None:
        self.now += step
        for name in self.queue.pop_due(self.now):
            assert self.model.pop(name) <= self.now
        assert all(at > self.now - WIDTH for at in self.model.values())

    @invariant()
    def same(self) -> None:
        assert dict(self.queue) == self.model
        assert len(self.queue) == len(self.model)
        assert all(self.queue.at(name) == at for name, at in self.model.items())


TestAgainstDict = AgainstDict.TestCase


def test_a_tenant_stands_in_one_queue() -> None:
    checks = Round(WIDTH)
    checks.move("a", checks.due, 5.0)
    checks.move("a", checks.in_flight, 6.0)
    assert "a" not in checks.due
    checks.move("a", checks.suspect, 7.0)
    assert "a" in checks
    assert (len(checks.due), len(checks.in_flight), len(checks.suspect)) == (0, 0, 1)
    checks.leave("a")
    checks.leave("a")
    assert "a" not in checks
