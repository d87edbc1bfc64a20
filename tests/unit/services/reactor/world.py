"""A world for `decide`: a bus that delivers late, twice and out of order, processes that crash, restarts."""

from dataclasses import dataclass, field

from msgspec import structs

from bus.events import (
    AnyEvent,
    PackageReleased,
    ProcStuck,
    UserAdded,
    UserDeleted,
    UserModified,
)
from bus.model import PackageSettings
from bus.sections import MoveSettings
from services.reactor.actions import (
    AnyAction,
    AnyNews,
    BecameReady,
    Ended,
    Forget,
    Found,
    Heard,
    Input,
    Kill,
    Knocked,
    Listen,
    NotSwitched,
    Process,
    Publish,
    SharedEvent,
    Spawn,
    Spawned,
    SpawnFailed,
    Switch,
    Switched,
    TenantEvent,
    Terminate,
    TimeCame,
    WakeAt,
    Withdraw,
    Withdrawn,
)
from services.reactor.adopt import ALONE, missed
from services.reactor.decide import settle
from services.reactor.failback import Failback
from services.reactor.learn import learn
from services.reactor.placing import Load, Verdict
from services.reactor.state import Tenant
from services.reactor.wants import Shared, count, recount, share

DATABASES = ("db1", "db2")
BOOT = "boot"


@dataclass
class Program:
    """A process in the world."""

    process: Process
    order: Spawn
    ready: bool = False
    told_to_stop: bool = False
    deaf: bool = False
    """Ignores SIGTERM."""
    switches: bool = False
    """Has asked to be told of another database."""


@dataclass
class World:
    """Everything outside `decide`; nothing happens in it by itself."""

    now: float = 1000.0
    seq: int = 0
    journal: list[tuple[int, AnyEvent]] = field(default_factory=list)
    on_the_way: list[tuple[int, AnyEvent]] = field(default_factory=list)
    news: list[AnyNews] = field(default_factory=list)
    orders: dict[str, Spawn | Switch] = field(default_factory=dict)
    processes: dict[str, list[Program]] = field(default_factory=dict)
    listening: set[str] = field(default_factory=set)
    """At whose sockets somebody is heard who comes."""
    visitors: set[str] = field(default_factory=set)
    """At whose sockets somebody waits."""
    ever: set[tuple[str, Process]] = field(default_factory=set)
    alarms: dict[str, float] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    shared: Shared = field(default_factory=Shared)
    switching: bool = False
    """Whether the processes that begin from now on ask to be told of another database."""
    forgotten: list[str] = field(default_factory=list)
    surveyed: bool = True
    """False when the journal may not tell of everybody."""
    moves: MoveSettings = field(default_factory=MoveSettings)
    failback: Failback = field(init=False)

    def __post_init__(self) -> None:
        self.shared = self._shared()

    def _shared(self) -> Shared:
        self.failback = Failback(self.moves)
        databases = {name: Verdict() for name in DATABASES}
        return Shared(databases=databases, surveyed=self.surveyed, moves=self.moves)

    # ------------------------------------------------ what others do

    def say(self, event: AnyEvent) -> None:
        """Put an event in the journal, and on the way to the reactor."""
        self.journal_(event)
        self.on_the_way.append((self.seq, event))

    def journal_(self, event: AnyEvent) -> None:
        self.seq += 1
        self.journal.append((self.seq, event))

    def deliver(self, index: int, *, keep: bool = False) -> None:
        """Let the reactor hear one of the events on the way, whichever; `keep`: it will come again."""
        if not self.on_the_way:
            return
        index %= len(self.on_the_way)
        seq, event = self.on_the_way[index] if keep else self.on_the_way.pop(index)
        if isinstance(event, SharedEvent):
            self.shared = share(self.shared, seq, event)
            self.failback.note(self.shared, self.now)
            for name in list(self.tenants):
                self.react(name, None)
        elif isinstance(event, TenantEvent):
            self.react(event.tenant, Heard(seq=seq, event=event))

    def visit(self, name: str) -> None:
        """Come to a tenant's socket: whoever serves there serves at once, else it waits."""
        if any(program.ready and not program.told_to_stop for program in self.processes.get(name, [])):
            return
        self.visitors.add(name)
        self._knock(name)

    def _knock(self, name: str) -> None:
        if name in self.listening & self.visitors:
            self.listening.discard(name)
            self.news.append(Knocked(tenant=name))

    # ------------------------------------------------ what processes do

    def begin(self, name: str, *, deaf: bool = False) -> None:
        """Serve a Spawn."""
        order = self.orders.pop(name, None)
        if order is None:
            return
        if isinstance(order, Switch):
            self._switch(order)
            return
        self._check_room(order)
        pid = 100 + len(self.ever)
        process = Process(pid=pid, started=pid * 7, boot=BOOT)
        self.ever.add((name, process))
        self.processes.setdefault(name, []).append(
            Program(process, order, deaf=deaf, switches=self.switching)
        )
        self.news.append(Spawned(tenant=name, process=process, port=0))

    def fail(self, name: str, *, never: bool = False) -> None:
        order = self.orders.pop(name, None)
        if isinstance(order, Switch):
            self.news.append(NotSwitched(tenant=name, process=order.process, reason="it raised ValueError"))
        elif order:
            self.news.append(SpawnFailed(tenant=name, reason="no memory", never=never))

    def hang(self, name: str) -> None:
        """Let a process that is told answer only after it was given up."""
        order = self.orders.get(name)
        if isinstance(order, Switch):
            self.fail(name)
            self._switch(order)

    def _switch(self, order: Switch) -> None:
        for program in self.processes.get(order.tenant, []):
            if program.process == order.process and not program.told_to_stop:
                program.order = structs.replace(program.order, database=order.database)
                self.news.append(
                    Switched(tenant=order.tenant, process=order.process, database=order.database)
                )

    def ready(self, name: str) -> None:
        """Let the newest of its processes be ready."""
        for running in self.processes.get(name, [])[-1:]:
            if not running.ready:
                running.ready = True
                if not running.told_to_stop:
                    self.visitors.discard(name)
                self.news.append(BecameReady(tenant=name, process=running.process, switches=running.switches))

    def end(self, name: str, code: int | None = 1, signal: str = "", which: int = -1) -> None:
        """End one of its processes, the newest by default."""
        programs = self.processes.get(name)
        if programs:
            running = programs.pop(which % len(programs))
            order = self.orders.get(name)
            if isinstance(order, Switch) and order.process == running.process:
                del self.orders[name]
            self.news.append(Ended(tenant=name, process=running.process, code=code, signal=signal))

    def _check_room(self, order: Spawn) -> None:
        """There may be one more, which is going or to be replaced, if both can stand each other."""
        others = self.processes.get(order.tenant, [])
        assert [other.process for other in others] in ([], [order.beside]), f"{order.tenant} would run twice"
        alone = any(each.stamp.endswith(ALONE) for each in (order, *(other.order for other in others)))
        assert not (others and alone), f"{order.tenant} must be alone"

    def hear(self) -> None:
        """Let the reactor hear the next news of its processes; these come in order."""
        if self.news:
            news = self.news.pop(0)
            self.react(news.tenant, news)

    # ------------------------------------------------ time

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for name, at in list(self.alarms.items()):
            if at <= self.now:
                del self.alarms[name]
                self.react(name, TimeCame(tenant=name))
        if self.now >= self.failback.next_at:
            self.go_back()

    def go_back(self) -> bool:
        """Let one tenant go back to a database that has returned, if one should."""
        news = self.failback.take(self.shared, self.tenants.values(), self.now)
        if news:
            self.react(news.tenant, news)
        return news is not None

    def even_out(self) -> None:
        """Let so much time pass that all have gone back who should."""
        self.now += self.moves.failback_after
        for _ in range(200):
            self.calm()
            if not self.go_back():
                return
        raise AssertionError(f"tenants never come to rest: {self.shared.loads}")

    # ------------------------------------------------ the reactor

    def react(self, name: str, heard: Input | None) -> None:
        tenant = self.tenants.get(name) or Tenant(name=name)
        if heard:
            tenant = learn(tenant, heard, self.now)
        tenant, actions = settle(tenant, self.shared, self.now)
        self.shared = recount(self.shared, self.tenants.get(name) or Tenant(name=name), tenant)
        self.tenants[name] = tenant
        assert self.loads() == self.loads(count(self.shared, self.tenants.values()))
        for action in actions:
            self._perform(action)

    def loads(self, shared: Shared | None = None) -> dict[str, Load]:
        """Tell how many tenants each database has that has any."""
        return {name: load for name, load in (shared or self.shared).loads.items() if any(load)}

    def _perform(self, action: AnyAction) -> None:
        name = action.tenant
        match action:
            case Publish():
                self.journal_(action.event)
            case Spawn():
                assert self._may_spawn(name), f"{name} was asked for twice"
                self._check_room(action)
                self.orders[name] = action
                self.listening.discard(name)
            case Switch():
                assert name not in self.orders, f"{name} was asked for twice"
                assert (name, action.process) in self.ever, "a stranger would be told"
                self.orders[name] = action
            case Listen():
                self.listening.add(name)
                self._knock(name)
            case Withdraw():
                if self.orders.pop(name, None):
                    self.news.append(Withdrawn(tenant=name))
            case Terminate() | Kill():
                assert (name, action.process) in self.ever, "a stranger would be killed"
                self._signal(action)
            case WakeAt():
                self.alarms[name] = action.at
            case Forget():
                assert not self.processes.get(name)
                self.forgotten.append(name)

    def _may_spawn(self, name: str) -> bool:
        """Tell whether no order waits but one to a process that has ended, whose place the new one takes."""
        order = self.orders.get(name)
        living = {program.process for program in self.processes.get(name, [])}
        return order is None or (isinstance(order, Switch) and order.process not in living)

    def _signal(self, action: Terminate | Kill) -> None:
        for which, running in enumerate(self.processes.get(action.tenant, [])):
            if running.process == action.process:
                running.told_to_stop = True
                if isinstance(action, Kill):
                    self.end(action.tenant, None, "SIGKILL", which)
                return

    def restart(self, *, lose_news: bool) -> None:
        """Kill the reactor and start it again: it knows the journal, and what runs."""
        self.orders.clear()
        self.alarms.clear()
        self.listening.clear()
        self.tenants.clear()
        self.shared = self._shared()
        kept = [news for news in self.news if isinstance(news, Ended)]
        self.news.clear()
        for seq, event in self.latest():
            if isinstance(event, SharedEvent):
                self.shared = share(self.shared, seq, event)
            elif isinstance(event, TenantEvent):
                self._learn(event.tenant, Heard(seq=seq, event=event))
        for name, running in self.all():
            order = running.order
            found = Found(
                tenant=name,
                process=running.process,
                release=order.release,
                database=order.database,
                port=0,
                ready=running.ready,
                stamp=order.stamp,
                stopping=running.told_to_stop,
                switches=running.switches,
            )
            self._learn(name, found)
        if not lose_news:
            for news in kept:
                self._learn(news.tenant, news)
        for name, tenant in list(self.tenants.items()):
            process = missed(tenant)
            if process:
                self._learn(name, Ended(tenant=name, process=process, code=None, signal=""))
        self.shared = count(self.shared, self.tenants.values())
        self.failback.note(self.shared, self.now)
        for name in list(self.tenants):
            self.react(name, None)

    def all(self) -> list[tuple[str, Program]]:
        return [(name, program) for name, programs in self.processes.items() for program in programs]

    def _learn(self, name: str, heard: Input) -> None:
        tenant = self.tenants.get(name) or Tenant(name=name)
        self.tenants[name] = learn(tenant, heard, self.now)

    def latest(self) -> list[tuple[int, AnyEvent]]:
        """The newest event of each (family, subject), of good settings, and of each deletion, in order."""
        newest: dict[tuple[str, str], tuple[int, AnyEvent]] = {}
        for seq, event in self.journal:
            if isinstance(event, SharedEvent | TenantEvent) and not isinstance(event, ProcStuck):
                newest[event.family, event.subject] = (seq, event)
            if isinstance(event, UserAdded | UserModified | UserDeleted):
                newest["good", event.subject] = (seq, event)
            if isinstance(event, UserDeleted):
                newest["deleted", event.subject] = (seq, event)
        return sorted(dict(newest.values()).items())

    # ------------------------------------------------ when it calms down

    def calm(self) -> None:
        """Deliver everything, let all go well and enough time pass."""
        while self.on_the_way:
            self.deliver(0)
        for _ in range(200):
            self.settle_down()
            if not self.alarms:
                return
            self.wait(max(0.0, min(self.alarms.values()) - self.now) + 0.001)
        raise AssertionError(f"never calm: {self.tenants}")

    def settle_down(self) -> None:
        busy = True
        while busy:
            for name in list(self.orders):
                self.begin(name)
            for name, running in self.all():
                if running.told_to_stop and not running.deaf:
                    self.end(name, 0, which=self.processes[name].index(running))
                elif not running.told_to_stop:
                    self.ready(name)
            busy = bool(self.news or self.orders)
            while self.news:
                self.hear()


def release(version: str, app: str = "shop", stamp: str = "s", *, overlap: bool = True) -> PackageReleased:
    return PackageReleased(
        release=f"{app}-{version}",
        app=app,
        version=version,
        path=f"/packages/{app}/{version}",
        settings=PackageSettings(entry="shop:make_app", overlap=overlap),
        stamp=stamp,
    )
