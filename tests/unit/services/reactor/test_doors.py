"""How tenants meet their visitors, and the files that say so."""

from pathlib import Path

import pytest
from msgspec import structs

from services.reactor.actions import Process
from services.reactor.doors import Door, Doors, door
from services.reactor.state import (
    Asked,
    Backoff,
    Exited,
    Fatal,
    Gone,
    Idle,
    Record,
    Run,
    Running,
    Sleeping,
    Starting,
    State,
    Stopped,
    Stopping,
    Target,
    Tenant,
    Waiting,
    Wish,
)

TARGET = Target(release="shop-1", database="db1", stamp="")
RUN = Run(process=Process(pid=1, started=1, boot=""), target=TARGET, port=0)

BACKOFF = Backoff(target=TARGET, until=1.0, pause=1.0, failures=2, reason="r")
FATAL = Fatal(target=TARGET, until=1.0, pause=1.0, failures=6, reason="r")
PASSING: tuple[State, ...] = (
    Asked(target=TARGET),
    Starting(run=RUN, since=0.0),
    Stopping(run=RUN, reason="r", kill_at=1.0),
    Exited(run=RUN, code=1, signal="", failure="r"),
    BACKOFF,
)


def tenant(state: State) -> Tenant:
    return Tenant(name="acme", wish=Wish(seq=1, present=True), state=state)


def waiting(*, quiet: bool) -> Waiting:
    return Waiting(reason="r", quiet=quiet)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Running(run=RUN, since=0.0), Door.OPEN),
        *((state, Door.OPEN) for state in PASSING),
        (Stopped(by="somebody", reason="r"), Door.SHUT),
        (FATAL, Door.SHUT),
        (Sleeping(), Door.OPEN),
        (waiting(quiet=False), Door.SHUT),
        (waiting(quiet=True), Door.KNOWN),
        (Gone(reason="deleted"), Door.NONE),
    ],
    ids=lambda value: value.name if isinstance(value, Door) else type(value).__name__,
)
def test_every_state_has_its_door(state: State, expected: Door) -> None:
    assert door(tenant(state)) is expected


@pytest.mark.parametrize("state", PASSING, ids=lambda state: type(state).__name__)
def test_after_fatal_nobody_is_let_in_before_it_serves(state: State) -> None:
    fallen = structs.replace(tenant(state), record=Record(probation=True))
    assert door(fallen) is Door.KNOWN
    assert door(structs.replace(fallen, state=Running(run=RUN, since=0.0))) is Door.OPEN


@pytest.mark.parametrize("state", [Idle(), Gone(reason="r")])
def test_a_name_of_nobody_has_no_door_unless_its_settings_are_wrong(state: State) -> None:
    nobody = Tenant(name="acme", state=state)
    assert door(nobody) is None
    assert door(structs.replace(nobody, wish=Wish(wrong="tenant.toml:1: r"))) is Door.SHUT


def test_wrong_settings_do_not_shut_what_runs_on_the_last_good_ones() -> None:
    running = tenant(Running(run=RUN, since=0.0))
    assert door(structs.replace(running, wish=Wish(wrong="tenant.toml:1: r"))) is Door.OPEN


def files(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_files_say_how_a_door_is(tmp_path: Path) -> None:
    doors = Doors(tmp_path)
    assert not doors.show("acme", Door.OPEN)
    assert files(tmp_path) == ["acme.known"]
    assert doors.show("acme", Door.SHUT)
    assert files(tmp_path) == ["acme.down", "acme.known"]
    assert not doors.show("acme", Door.KNOWN)
    assert files(tmp_path) == ["acme.down", "acme.known"]
    doors.show("acme", Door.NONE)
    assert files(tmp_path) == []
    doors.complete()
    assert files(tmp_path) == ["complete"]


def test_the_next_reactor_corrects_what_the_last_one_left(tmp_path: Path) -> None:
    Doors(tmp_path).show("acme", Door.SHUT)
    Doors(tmp_path).show("gone", Door.SHUT)
    doors = Doors(tmp_path)
    doors.show("gone", Door.NONE)
    doors.show("acme", Door.KNOWN)
    assert files(tmp_path) == ["acme.down", "acme.known"]
    doors.show("acme", Door.OPEN)
    assert files(tmp_path) == ["acme.known"]


def test_a_door_that_stays_as_it_is_costs_nothing(tmp_path: Path) -> None:
    doors = Doors(tmp_path)
    assert doors.show("acme", Door.SHUT)
    (tmp_path / "acme.down").unlink()
    assert not doors.show("acme", Door.SHUT)
    assert files(tmp_path) == ["acme.known"]


@pytest.mark.parametrize("name", ["../acme", "a/b", "", "A b", "."])
def test_nothing_is_written_for_what_cannot_be_a_tenant(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "http"
    inner.mkdir()
    assert not Doors(inner).show(name, Door.SHUT)
    assert (files(tmp_path), files(inner)) == (["http"], [])


def test_what_could_not_be_written_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "http"
    doors = Doors(directory)
    assert not doors.show("acme", Door.SHUT)
    doors.complete()
    assert "acme.down: No such file or directory" in caplog.text
    directory.mkdir()
    assert doors.show("acme", Door.SHUT)
    assert files(directory) == ["acme.down", "acme.known"]
