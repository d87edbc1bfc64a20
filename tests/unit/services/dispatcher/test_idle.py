"""Who is called idle, and when."""

from msgspec import structs

from bus.events import TenantIdle
from services.dispatcher.decide import Sight
from services.dispatcher.idle import AGAIN, Idleness

AT_WORK = Sight(pid=7, started=70, ready_at=1.0, loops=1)
LIMIT = 100.0


class Scene:
    """One tenant that may be idle for 100 s, and a dispatcher that looks at it ten times a second."""

    def __init__(self) -> None:
        self.idleness = Idleness(0.1)
        self.now = 1000.0
        self.sight: Sight | None = AT_WORK
        self.ours: dict[str, int] = {}
        self.idleness.allow("acme", LIMIT)
        self.idleness.enter("acme", self.now)

    def see(self, **changed: object) -> None:
        self.sight = structs.replace(self.sight or AT_WORK, **changed)

    def wait(self, seconds: float) -> list[TenantIdle]:
        said: list[TenantIdle] = []
        end = self.now + seconds
        while self.now < end:
            self.now += 0.1
            said += self.idleness.look(self.now, {"acme": self.sight}.get, self.ours)
        return said


def test_who_is_not_used_is_called_idle_once_and_later_again() -> None:
    scene = Scene()
    assert scene.wait(LIMIT - 1) == []
    (event,) = scene.wait(2.0)
    assert (event.tenant, event.pid, event.started, event.reason) == ("acme", 7, 70, "not used for 100 s")
    assert scene.wait(LIMIT - 2) == []
    (event,) = scene.wait(3.0)
    assert round(event.idle_for) == 2 * LIMIT


def test_a_request_puts_it_off() -> None:
    scene = Scene()
    scene.wait(LIMIT - 1)
    scene.see(requests=1)
    assert scene.wait(LIMIT - 1) == []
    assert len(scene.wait(LIMIT / 5)) == 1


def test_a_request_that_takes_long_and_an_open_websocket_are_use() -> None:
    scene = Scene()
    scene.see(in_flight=1)
    assert scene.wait(5 * LIMIT) == []
    scene.see(in_flight=0, websockets=2)
    assert scene.wait(5 * LIMIT) == []
    scene.see(websockets=0)
    assert len(scene.wait(1.2 * LIMIT)) == 1


def test_our_own_questions_are_no_use() -> None:
    scene = Scene()
    said = scene.wait(1.0)
    for count in range(1, 12):  # one answered each ten seconds
        scene.ours["acme"] = count  # it may be counted here a moment before it is there
        said += scene.wait(0.2)
        scene.see(requests=count)
        said += scene.wait(9.8)
    assert len(said) == 1


def test_a_request_among_our_own_is_seen() -> None:
    scene = Scene()
    scene.wait(LIMIT - 1)
    scene.ours["acme"] = 3
    scene.see(requests=4)
    assert scene.wait(LIMIT - 1) == []


def test_another_process_begins_anew() -> None:
    scene = Scene()
    scene.wait(LIMIT - 1)
    scene.see(pid=8, started=80)
    assert scene.wait(LIMIT - 1) == []


def test_a_program_that_keeps_no_score_is_never_idle() -> None:
    scene = Scene()
    scene.see(loops=0)
    assert scene.wait(5 * LIMIT) == []


def test_who_ends_or_may_be_idle_for_ever_is_looked_at_no_more() -> None:
    scene = Scene()
    scene.see(stopping_at=1000.0)
    assert scene.wait(5 * LIMIT) == []
    scene.see(stopping_at=0.0)
    assert scene.wait(5 * LIMIT) == []
    scene.idleness.enter("acme", scene.now)
    scene.idleness.allow("acme", None)
    scene.idleness.enter("acme", scene.now)
    assert scene.wait(5 * LIMIT) == []


def test_a_short_limit_is_repeated_at_leisure() -> None:
    scene = Scene()
    scene.idleness.allow("acme", 1.0)
    scene.idleness.enter("acme", scene.now)
    assert len(scene.wait(AGAIN)) == 1
