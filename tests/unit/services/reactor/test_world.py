"""Whatever the world does: nobody runs twice, no stranger is killed, in the end runs what is wanted."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.events import (
    DbCaughtUp,
    DbDegraded,
    DbDown,
    DbDrainRequested,
    DbMisconfigured,
    DbUndrainRequested,
    DbUp,
    PackageWithdrawn,
    ProcStuck,
    RestartRequested,
    StartRequested,
    StopRequested,
    TenantIdle,
    UserAdded,
    UserDeleted,
    UserInvalid,
    UserModified,
)
from bus.model import TenantSettings
from bus.sections import MoveSettings
from tests.unit.services.reactor.truth import check
from tests.unit.services.reactor.world import DATABASES, World, release

NAMES = ("acme", "bolt")

SETTINGS = (
    TenantSettings(package="shop"),
    TenantSettings(package="shop", plan="paid"),
    TenantSettings(package="shop==1.0", databases=("db1",)),
    TenantSettings(package="shop", env={"A": "1"}, stop_timeout=0.0),
    TenantSettings(package="shop", start="manual"),
    TenantSettings(package="shop", start="on-demand", idle_stop=60),
    TenantSettings(package="shop", start="on-demand", plan="paid", stop_timeout=0.0),
)


def say_user(world: World, name: str, n: int) -> None:
    """What pathwatch says is always about what is there."""
    present = None
    for _, event in world.journal:
        if isinstance(event, UserAdded | UserModified | UserDeleted) and event.tenant == name:
            present = not isinstance(event, UserDeleted)
    if present and n % 4 == 0:
        world.say(UserDeleted(tenant=name))
        return
    event_class = UserModified if present else UserAdded
    chosen = SETTINGS[n % len(SETTINGS)]
    world.say(event_class(tenant=name, path="/t", settings=chosen, stamp=str(n), secrets=f"s{n % 2}"))


def say_wrong(world: World, name: str, n: int) -> None:
    """Somebody makes a mistake: what was said before counts, whatever happens."""
    world.say(UserInvalid(tenant=name, file="f", key="plan", line=3, reason="r", stamp=str(n)))


def say_request(world: World, name: str, n: int) -> None:
    event_class = (StartRequested, StopRequested, RestartRequested)[n % 3]
    world.say(event_class(tenant=name, by="ann@host"))


def say_database(world: World, _: str, n: int) -> None:
    database = DATABASES[n % 2]
    if n % 5 == 0:
        world.say(DbMisconfigured(database=database, reason="access denied", key="password_file"))
    elif n % 5 == 1:
        writable = n % 2 == 0
        world.say(DbDegraded(database=database, reason="ill", kinds=("slow",), writable=writable))
    else:
        world.say((DbUp if n % 3 else DbDown)(database=database, reason="as checked"))


def say_caught_up(world: World, _: str, n: int) -> None:
    source, target = DATABASES[n % 2], DATABASES[1 - n % 2]
    caught_up = (True, False, None)[n % 3]
    world.say(DbCaughtUp(source=source, target=target, caught_up=caught_up, reason="as compared"))


def say_drain(world: World, _: str, n: int) -> None:
    event_class = DbDrainRequested if n % 3 == 0 else DbUndrainRequested
    world.say(event_class(database=DATABASES[n % 2], by="ann@host"))


def say_release(world: World, _: str, n: int) -> None:
    version = f"1.{n % 3}"
    world.say(
        PackageWithdrawn(release=f"shop-{version}") if n % 7 == 0 else release(version, overlap=n % 5 != 0)
    )


def say_stuck(world: World, name: str, n: int) -> None:
    """The dispatcher may be late, and speak of a process that is long gone."""
    ours = [process for owner, process in sorted(world.ever, key=str) if owner == name]
    if ours:
        process = ours[-1 - n % len(ours)]
        world.say(ProcStuck(tenant=name, pid=process.pid, started=process.started, stuck_for=5.0))


def say_idle(world: World, name: str, n: int) -> None:
    """The dispatcher may be late with this as well."""
    ours = [process for owner, process in sorted(world.ever, key=str) if owner == name]
    if ours:
        process = ours[-1 - n % min(len(ours), 2)]
        world.say(
            TenantIdle(tenant=name, pid=process.pid, started=process.started, idle_for=60.0, reason="idle")
        )


def hear(world: World, _: str, n: int) -> None:
    for _turn in range(n % 4 + 1):
        world.hear()


ACTS: tuple[Callable[[World, str, int], Any], ...] = (
    say_user,
    say_wrong,
    say_request,
    say_database,
    say_caught_up,
    say_drain,
    say_release,
    say_stuck,
    say_idle,
    say_idle,
    lambda world, name, _: world.visit(name),
    hear,
    hear,
    lambda world, _, n: world.deliver(n),
    lambda world, _, n: world.deliver(0),
    lambda world, _, n: world.deliver(n, keep=True),
    lambda world, name, n: world.begin(name, deaf=n % 5 == 0),
    lambda world, name, n: world.begin(name),
    lambda world, name, n: world.fail(name, never=n % 3 == 0),
    lambda world, name, n: world.hang(name),
    lambda world, name, n: world.ready(name),
    lambda world, name, n: world.end(name, code=n % 4, which=n),
    lambda world, name, n: world.end(name, None, "SIGSEGV", which=n),
    lambda world, _, n: world.wait((0.1, 1.0, 11.0, 40.0)[n % 4]),
    lambda world, _, n: world.restart(lose_news=n % 2 == 0),
)

SCRIPTS = st.lists(
    st.tuples(st.integers(0, len(ACTS) - 1), st.sampled_from(NAMES), st.integers(0, 20)),
    min_size=30,
    max_size=120,
)


def begun(*, switching: bool, failback: bool = False) -> World:
    moves = MoveSettings(failback_rate=1.0, failback_after=20.0) if failback else MoveSettings()
    world = World(switching=switching, moves=moves)
    world.say(release("1.0"))
    world.say(DbUp(database="db1", reason="answers"))
    world.say(DbUp(database="db2", reason="answers"))
    for name in NAMES:
        say_user(world, name, 5)
    world.calm()
    return world


@settings(max_examples=400, deadline=None)
@given(script=SCRIPTS, switching=st.booleans(), failback=st.booleans())
def test_in_the_end_runs_what_is_wanted(
    script: list[tuple[int, str, int]], *, switching: bool, failback: bool
) -> None:
    world = begun(switching=switching, failback=failback)
    for act, name, n in script:
        ACTS[act](world, name, n)
    world.even_out()
    for name in NAMES:
        check(world, name)
    running = {(name, program.process) for name, program in world.all()}
    world.restart(lose_news=False)
    world.calm()
    assert {(name, program.process) for name, program in world.all()} == running


def test_a_tenant_that_ends_before_it_is_told_of_another_database_is_started_there() -> None:
    world = begun(switching=True)
    say_user(world, "bolt", 1)
    world.calm()
    (running,) = world.processes["bolt"]
    world.end("bolt", None, "SIGSEGV")
    world.say(DbDown(database=running.order.database, reason="no answer"))
    world.deliver(0)
    world.hear()
    world.calm()
    (running,) = world.processes["bolt"]
    assert running.ready
