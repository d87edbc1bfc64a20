"""What the reactor believes after it heard something: it never acts, and never looks at a clock."""

from hashlib import blake2s
from typing import assert_never

import msgspec
from msgspec import structs

from bus.errors import mistake
from bus.events import (
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcMoved,
    ProcOversize,
    ProcReady,
    ProcRecovered,
    ProcReplaceFailed,
    ProcSleeping,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcStuck,
    ProcWaiting,
    RestartRequested,
    StartRequested,
    StopRequested,
    TenantIdle,
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
    Knocked,
    MayGoBack,
    NotSwitched,
    OwnEvent,
    Process,
    Request,
    Spawned,
    SpawnFailed,
    Switched,
    TenantEvent,
    TimeCame,
    Withdrawn,
)
from services.reactor.adopt import adopt
from services.reactor.state import (
    Alive,
    Asked,
    Backoff,
    Exited,
    Failed,
    Fatal,
    Idle,
    Killing,
    Leaving,
    Order,
    Record,
    Replacing,
    Resting,
    Run,
    Running,
    Single,
    Sleeping,
    Starting,
    Stopping,
    Stuck,
    Target,
    Telling,
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
        case Switched() | NotSwitched():
            return _switched(tenant, heard)
        case Spawned() | SpawnFailed() | Withdrawn():
            return _answered(tenant, heard, at)
        case BecameReady():
            return _ready(tenant, heard, at)
        case Ended():
            return _end(tenant, heard, at)
        case Found():
            return adopt(tenant, heard, at)
        case Knocked():
            return _knocked(tenant)
        case MayGoBack():  # who does anything else has better things to do
            return structs.replace(tenant, back=heard) if isinstance(tenant.state, Running) else tenant
        case _:
            assert_never(heard)


# ---------------------------------------------------------------- news of our own processes


def _answered(tenant: Tenant, reply: Spawned | SpawnFailed | Withdrawn, at: float) -> Tenant:
    state = tenant.state
    if not isinstance(state, Replacing):
        return structs.replace(_unmoved(tenant, state, reply), state=_reply(state, reply, at))
    if not isinstance(state.new, Telling):
        tenant = _unmoved(tenant, state.new, reply)
        return structs.replace(tenant, state=structs.replace(state, new=_reply(state.new, reply, at)))
    if not isinstance(reply, Withdrawn):
        return tenant
    held = state.old.run.target.database
    return structs.replace(tenant, state=structs.replace(state, new=Idle()), database=held)


def _unmoved(tenant: Tenant, state: Single, reply: Spawned | SpawnFailed | Withdrawn) -> Tenant:
    """Leave a tenant on the database that it comes from if nothing came of a start that was withdrawn."""
    if isinstance(state, Withdrawing) and not isinstance(reply, Spawned):
        return structs.replace(tenant, database=state.source)
    return tenant


def _switched(tenant: Tenant, news: Switched | NotSwitched) -> Tenant:
    """Take the word of a process that serves; it counts also when it comes late."""
    state = tenant.state
    serving = state.old if isinstance(state, Replacing) else state
    if not isinstance(serving, Running) or serving.run.process != news.process:
        return tenant
    told = isinstance(state, Replacing) and isinstance(state.new, Telling)
    if isinstance(news, Switched):
        target = structs.replace(serving.run.target, database=news.database)
        serving = structs.replace(serving, run=structs.replace(serving.run, target=target))
        if isinstance(state, Replacing) and not told:  # its successor is on the way somewhere
            return structs.replace(tenant, state=structs.replace(state, old=serving))
        return structs.replace(tenant, state=serving, database=news.database)
    if not isinstance(state, Replacing) or not told:
        return tenant
    serving = structs.replace(serving, run=structs.replace(serving.run, switches=False))
    reason = f"{state.reason}; {news.reason}"
    return structs.replace(tenant, state=structs.replace(state, old=serving, new=Idle(), reason=reason))


def _reply(state: Single, reply: Spawned | SpawnFailed | Withdrawn, at: float) -> Single:
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


def _knocked(tenant: Tenant) -> Tenant:
    """Wake a tenant that sleeps, or is about to; others serve their visitors anyway, or must not."""
    match tenant.state:
        case Sleeping() | Stopping(unused=True):
            return structs.replace(tenant, awake=True)
        case _:
            return tenant


def _ready(tenant: Tenant, news: BecameReady, at: float) -> Tenant:
    state = tenant.state
    match state:
        case Starting() if state.run.process == news.process:
            return structs.replace(tenant, state=_serve(state.run, news, at), awake=True)
        case Replacing(new=Starting() as new) if new.run.process == news.process:
            leaving = Leaving(state=state.old, reason=state.reason)
            return structs.replace(tenant, state=_serve(new.run, news, at), leaving=leaving, awake=True)
        case _:
            return tenant


def _serve(run: Run, news: BecameReady, at: float) -> Running:
    return Running(run=structs.replace(run, switches=news.switches), since=at)


def _end(tenant: Tenant, ended: Ended, at: float) -> Tenant:
    state, leaving = tenant.state, tenant.leaving
    if leaving and isinstance(leaving.state, Alive) and leaving.state.run.process == ended.process:
        gone = _exit(leaving.state, ended, at)
        return structs.replace(tenant, leaving=structs.replace(leaving, state=gone))
    match state:
        case Idle():
            return structs.replace(tenant, state=_end_unseen(tenant.said, ended) or state)
        case Starting() | Running() | Stuck() | Stopping() | Killing() if state.run.process == ended.process:
            return structs.replace(tenant, state=_exit(state, ended, at))
        case Replacing() if state.old.run.process == ended.process:
            return _lose_old(tenant, state, _exit(state.old, ended, at))
        case Replacing(new=new) if isinstance(new, Alive) and new.run.process == ended.process:
            return structs.replace(tenant, state=structs.replace(state, new=_exit(new, ended, at)))
        case _:
            return tenant


def _lose_old(tenant: Tenant, state: Replacing, lost: Exited | Stuck) -> Tenant:
    """Go on without the one that served: its successor, if one is on the way, is all there is now."""
    if isinstance(state.new, Telling):  # it has not left its database, as far as anybody knows
        tenant = structs.replace(tenant, database=lost.run.target.database)
    if isinstance(state.new, Resting | Telling):
        return structs.replace(tenant, state=lost)
    return structs.replace(tenant, state=state.new, leaving=Leaving(state=lost, reason=state.reason))


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
    if said is None:
        return None
    served = bool(said.serving) and said.serving == ended.process.pid
    match said:
        case _ if served:
            failure = _how(ended)
        case ProcStarted() | ProcReady() if (said.pid, said.started) == _identity(ended.process):
            failure = _how(ended)
        case ProcStopping() if said.pid == ended.process.pid:
            failure = ""
        case _:
            return None
    target = Target(release="" if served else said.release, database=said.database, stamp="")
    run = Run(process=ended.process, target=target, port=said.port)
    crashed = served or isinstance(said, ProcReady)
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
            return _wish_wrong(tenant, seq, event)
        case StartRequested() | StopRequested() | RestartRequested():
            return _order(tenant, seq, event)
        case ProcStuck():
            return _stuck(tenant, event, at)
        case ProcOversize():
            return _oversize(tenant, seq, event)
        case ProcRecovered():
            return tenant  # too late: what was stuck has been killed
        case TenantIdle():
            return _idle(tenant, event)
        case (
            ProcStarted()
            | ProcReady()
            | ProcStopping()
            | ProcExited()
            | ProcBackoff()
            | ProcFatal()
            | ProcReplaceFailed()
            | ProcSleeping()
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
        wish = structs.replace(tenant.wish, seq=seq, present=False, wrong="")
        return structs.replace(tenant, wish=wish, awake=False)
    is_new = isinstance(event, UserAdded) and not tenant.wish.present
    record = Record() if is_new else tenant.record
    wish = Wish(seq=seq, present=True, settings=event.settings, stamp=_stamp(event))
    return structs.replace(tenant, wish=wish, record=record)


def _wish_wrong(tenant: Tenant, seq: int, event: UserInvalid) -> Tenant:
    """Remember what is wrong only where there is nothing better: the last good settings stay."""
    if tenant.wish.present or seq <= tenant.wish.seq:
        return tenant
    return structs.replace(tenant, wish=structs.replace(tenant.wish, wrong=mistake(event)))


def _stamp(event: UserAdded | UserModified) -> str:
    """Digest what matters to a running process; the rest of the settings concerns us alone."""
    settings = event.settings
    limits = structs.asdict(settings.limits)
    del limits["memory_soft"]  # which is for us to watch
    matters = (sorted(settings.env.items()), limits, settings.user, event.secrets or event.stamp)
    return blake2s(msgspec.json.encode(matters), digest_size=8).hexdigest()


def _order(tenant: Tenant, seq: int, event: Request) -> Tenant:
    order, restart = tenant.order, isinstance(event, RestartRequested)
    if restart and seq > order.asked:  # counts even when something newer has overtaken it
        order = structs.replace(order, asked=seq, oversize="")
    if seq <= order.seq:
        return structs.replace(tenant, order=order)
    order = structs.replace(order, seq=seq, request=event)
    tenant = structs.replace(tenant, order=order, owes_answer=True, awake=not order.stop)
    return tenant if order.stop else forgive(tenant)


def forgive(tenant: Tenant) -> Tenant:
    """Forget failures, and what they led to."""
    state = tenant.state
    free = _free(state) if not isinstance(state, Replacing) else structs.replace(state, new=_free(state.new))
    return structs.replace(tenant, state=free, record=Record(restarts=tenant.record.restarts))


def _free(state: Single | Telling) -> Single | Telling:
    return Idle() if isinstance(state, Backoff | Fatal) else state


def _oversize(tenant: Tenant, seq: int, event: ProcOversize) -> Tenant:
    """Have the process replaced, as if somebody had asked for that; what people asked for stays."""
    state, order = tenant.state, tenant.order
    if not isinstance(state, Running) or (event.pid, event.started) != _identity(state.run.process):
        return tenant
    if seq <= order.asked:
        return tenant
    return structs.replace(tenant, order=structs.replace(order, asked=seq, oversize=event.reason))


def _stuck(tenant: Tenant, event: ProcStuck, at: float) -> Tenant:
    state = tenant.state
    serving = state.old if isinstance(state, Replacing) else state
    if not isinstance(serving, Starting | Running):
        return tenant
    if (event.pid, event.started) != _identity(serving.run.process):
        return tenant
    served = at - serving.since if isinstance(serving, Running) else 0.0
    stuck = Stuck(run=serving.run, stuck_for=event.stuck_for, kind=event.kind, served=served)
    if isinstance(state, Replacing):
        return _lose_old(tenant, state, stuck)
    return structs.replace(tenant, state=stuck)


def _idle(tenant: Tenant, event: TenantIdle) -> Tenant:
    """Take a process for unused; while it is being replaced that can wait for the next time."""
    state = tenant.state
    if isinstance(state, Running) and (event.pid, event.started) == _identity(state.run.process):
        return structs.replace(tenant, awake=False)
    return tenant


def _remember(tenant: Tenant, seq: int, event: OwnEvent) -> Tenant:
    """Take up what a reactor before us has said; our own words we know already."""
    if tenant.said is not None:
        return tenant
    return structs.replace(
        tenant,
        said=event,
        record=Record(restarts=event.restarts, probation=isinstance(event, ProcFatal)),
        database=event.database,
        awake=tenant.order.seq > seq and tenant.awake,
        owes_answer=tenant.order.seq > seq and tenant.owes_answer,
    )
