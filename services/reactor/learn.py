"""What the reactor believes after it heard something: it never acts, and never looks at a clock."""

from hashlib import blake2s
from typing import assert_never

import msgspec
from msgspec import structs

from bus.events import (
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcMoved,
    ProcReady,
    ProcRecovered,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcStuck,
    ProcWaiting,
    RestartRequested,
    StartRequested,
    StopRequested,
    UserAdded,
    UserDeleted,
    UserInvalid,
    UserModified,
)
from services.reactor.actions import (
    BecameReady,
    Ended,
    Found,
    Heard,
    Input,
    OwnEvent,
    Process,
    Request,
    Spawned,
    SpawnFailed,
    TenantEvent,
    TimeCame,
    Withdrawn,
)
from services.reactor.state import (
    Alive,
    Asked,
    Backoff,
    Exited,
    Failed,
    Fatal,
    Idle,
    Killing,
    Order,
    Record,
    Run,
    Running,
    Starting,
    State,
    Stopping,
    Stuck,
    Target,
    Tenant,
    Wish,
    Withdrawing,
)


def learn(tenant: Tenant, heard: Input, at: float) -> Tenant:
    """Believe what was heard at a monotonic time; what does not concern the tenant's process is ignored."""
    match heard:
        case Heard():
            return _hear(tenant, heard.seq, heard.event, at)
        case TimeCame():
            return structs.replace(tenant, wake=None)
        case Spawned() | SpawnFailed() | Withdrawn():
            return structs.replace(tenant, state=_reply(tenant.state, heard, at))
        case BecameReady():
            return structs.replace(tenant, state=_ready(tenant.state, heard, at))
        case Ended():
            return structs.replace(tenant, state=_end(tenant, heard, at))
        case Found():
            return _adopt(tenant, heard, at)
        case _:
            assert_never(heard)


# ---------------------------------------------------------------- news of our own processes


def _reply(state: State, reply: Spawned | SpawnFailed | Withdrawn, at: float) -> State:
    """Take the answer to a Spawn."""
    match state:
        case Asked() | Withdrawing() if isinstance(reply, Spawned):
            run = Run(process=reply.process, target=state.target, port=reply.port)
            return Starting(run=run, since=at)
        case Asked() if isinstance(reply, SpawnFailed):
            return Failed(target=state.target, failure=reply.reason, never=reply.never)
        case Withdrawing():
            return Idle()
        case _:
            return state


def _ready(state: State, news: BecameReady, at: float) -> State:
    if isinstance(state, Starting) and state.run.process == news.process:
        return Running(run=state.run, since=at)
    return state


def _adopt(tenant: Tenant, found: Found, at: float) -> Tenant:
    if not isinstance(tenant.state, Idle):
        return tenant
    stamp, _, asked = found.stamp.rpartition("@")
    target = Target(
        release=found.release,
        database=found.database,
        stamp=stamp,
        asked=int(asked) if asked.isdigit() else 0,
    )
    run = Run(process=found.process, target=target, port=found.port)
    state = Running(run=run, since=at, adopted=True) if found.ready else Starting(run=run, since=at)
    return structs.replace(tenant, state=state, database=found.database, said=None)  # each adoption is told


def label(target: Target) -> str:
    """Write down what a process runs on, for `Found.stamp` to bring back."""
    return f"{target.stamp}@{target.asked}"


def _end(tenant: Tenant, ended: Ended, at: float) -> State:
    state = tenant.state
    match state:
        case Idle():
            return _end_unseen(tenant.said, ended) or state
        case Starting() | Running() | Stuck() | Stopping() | Killing() if state.run.process == ended.process:
            return _exit(state, ended, at)
        case _:
            return state


def _exit(state: Alive, ended: Ended, at: float) -> Exited:
    exited = Exited(run=state.run, code=ended.code, signal=ended.signal, failure="")
    match state:
        case Starting():
            return structs.replace(exited, failure=f"{_how(ended)} before it was ready")
        case Running():
            return structs.replace(exited, failure=_how(ended), served=at - state.since, crashed=True)
        case Stuck():
            return structs.replace(exited, failure=_how(ended), served=state.served)
        case Killing():
            return structs.replace(exited, failure=state.failure, served=state.served)
        case Stopping():
            return exited
        case _:
            assert_never(state)


def _end_unseen(said: OwnEvent | None, ended: Ended) -> Exited | None:
    """Tell what ended while the reactor was away, if that is the process that it had told of last."""
    match said:
        case ProcStarted() | ProcReady() if (said.pid, said.started) == _identity(ended.process):
            failure = _how(ended)
        case ProcStopping() if said.pid == ended.process.pid:
            failure = ""
        case _:
            return None
    target = Target(release=said.release, database=said.database, stamp="")
    run = Run(process=ended.process, target=target, port=said.port)
    crashed = isinstance(said, ProcReady)
    return Exited(run=run, code=ended.code, signal=ended.signal, failure=failure, crashed=crashed)


def _identity(process: Process) -> tuple[int, int]:
    return process.pid, process.started


def _how(ended: Ended) -> str:
    if ended.detail:
        return ended.detail
    if ended.signal:
        return f"ended by {ended.signal}"
    return "ended, nobody saw how" if ended.code is None else f"ended with exit code {ended.code}"


# ---------------------------------------------------------------- events from the bus


def _hear(tenant: Tenant, seq: int, event: TenantEvent, at: float) -> Tenant:
    match event:
        case UserAdded() | UserModified() | UserDeleted():
            return _wish(tenant, seq, event)
        case UserInvalid():
            return tenant  # the last good settings stay
        case StartRequested() | StopRequested() | RestartRequested():
            return _order(tenant, seq, event)
        case ProcStuck():
            return structs.replace(tenant, state=_stuck(tenant.state, event, at))
        case ProcRecovered():
            return tenant  # too late: what was stuck has been killed
        case (
            ProcStarted()
            | ProcReady()
            | ProcStopping()
            | ProcExited()
            | ProcBackoff()
            | ProcFatal()
            | ProcStopped()
            | ProcWaiting()
            | ProcMoved()
        ):
            return _remember(tenant, seq, event)
        case _:
            assert_never(event)


def _wish(tenant: Tenant, seq: int, event: UserAdded | UserModified | UserDeleted) -> Tenant:
    if isinstance(event, UserDeleted) and seq > tenant.order.seq:
        # what people asked for concerned the tenant that is gone, not one that may get its name
        tenant = structs.replace(tenant, order=Order(seq=seq, asked=tenant.order.asked))
    if seq <= tenant.wish.seq:
        return tenant
    if isinstance(event, UserDeleted):
        return structs.replace(tenant, wish=structs.replace(tenant.wish, seq=seq, present=False))
    record = tenant.record if tenant.wish.present else Record()
    wish = Wish(seq=seq, present=True, settings=event.settings, stamp=_stamp(event))
    return structs.replace(tenant, wish=wish, record=record)


def _stamp(event: UserAdded | UserModified) -> str:
    """Digest what matters to a running process; the rest of the settings concerns us alone."""
    settings = event.settings
    matters = (sorted(settings.env.items()), settings.limits, settings.user, event.secrets or event.stamp)
    return blake2s(msgspec.json.encode(matters), digest_size=8).hexdigest()


def _order(tenant: Tenant, seq: int, event: Request) -> Tenant:
    order, restart = tenant.order, isinstance(event, RestartRequested)
    if restart and seq > order.asked:  # counts even when something newer has overtaken it
        order = structs.replace(order, asked=seq)
    if seq <= order.seq:
        return structs.replace(tenant, order=order)
    stop = isinstance(event, StopRequested)
    order = structs.replace(order, seq=seq, stop=stop, by=event.by)
    tenant = structs.replace(tenant, order=order, owes_answer=True)
    return tenant if stop else forgive(tenant)


def forgive(tenant: Tenant) -> Tenant:
    """Forget failures, and what they led to."""
    state = Idle() if isinstance(tenant.state, Backoff | Fatal) else tenant.state
    return structs.replace(tenant, state=state, record=Record(restarts=tenant.record.restarts))


def _stuck(state: State, event: ProcStuck, at: float) -> State:
    match state:
        case Starting() | Running() if (event.pid, event.started) == _identity(state.run.process):
            served = at - state.since if isinstance(state, Running) else 0.0
            return Stuck(run=state.run, stuck_for=event.stuck_for, served=served)
        case _:
            return state


def _remember(tenant: Tenant, seq: int, event: OwnEvent) -> Tenant:
    """Take up what a reactor before us has said; our own words we know already."""
    if tenant.said is not None:
        return tenant
    return structs.replace(
        tenant,
        said=event,
        record=Record(restarts=event.restarts, probation=isinstance(event, ProcFatal)),
        database=event.database,
        owes_answer=tenant.order.seq > seq and tenant.owes_answer,
    )
