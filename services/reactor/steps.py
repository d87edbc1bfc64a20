"""One step of a process, or of a tenant that has none or one, towards what is wanted."""

from collections.abc import Sequence
from typing import NamedTuple, assert_never

from msgspec import structs

from services.reactor.actions import (
    AnyAction,
    Forget,
    Kill,
    Listen,
    Process,
    Publish,
    Spawn,
    Terminate,
    Withdraw,
)
from services.reactor.adopt import label
from services.reactor.catching_up import hold_back
from services.reactor.learn import forgive
from services.reactor.placing import against, chance
from services.reactor.say import moved
from services.reactor.state import (
    Asked,
    Backoff,
    CatchingUp,
    Exited,
    Failed,
    Fatal,
    Gone,
    Idle,
    Killing,
    Record,
    Replacing,
    Run,
    Running,
    Single,
    Sleeping,
    Starting,
    State,
    Stopped,
    Stopping,
    Stuck,
    Target,
    Tenant,
    Waiting,
    Withdrawing,
)
from services.reactor.wants import Aim, Lacking, Shared, Unused, Unwanted, aim, is_down

EXIT_NEVER = 3
"""Exit code of a process that says: starting me again is no use until something changes."""

KILL_AGAIN = 5.0
"""Seconds after which a process that outlived its SIGKILL gets another one."""


class Decision(NamedTuple):
    """What is believed now, and what is to be done."""

    tenant: Tenant
    actions: Sequence[AnyAction] = ()


def step_one(
    tenant: Tenant, state: Single, shared: Shared, at: float, beside: Process | None = None
) -> Decision:
    """Take a step from `state`; `beside` is the process that serves meanwhile, if one does."""
    match state:
        case Idle() | Stopped() | Gone() | Waiting() | Sleeping():
            return _rest(tenant, aim(tenant, shared), shared, at, beside)
        case CatchingUp():
            return _rest(tenant, aim(tenant, shared), shared, at, beside, again=state.again)
        case Backoff() | Fatal():
            return _pause(tenant, state, shared, at, beside)
        case Asked():
            return _queue(tenant, state, aim(tenant, shared, state.target))
        case Withdrawing():
            return Decision(tenant)
        case Starting() | Running():
            return _compare(tenant, state, shared, at)
        case Stuck():
            failure = ", ".join(filter(None, (f"stuck for {state.stuck_for:.1f} s", state.kind)))
            return _kill(tenant, state, failure, at, failure=failure)
        case Stopping() | Killing():
            return _insist(tenant, state, shared, at)
        case Exited() | Failed():
            return _account(tenant, state, shared, at, beside)
        case _:
            assert_never(state)


# ---------------------------------------------------------------- without a process


def _rest(  # noqa: PLR0913  # what is so, what is wanted, and what is there
    tenant: Tenant,
    goal: Aim,
    shared: Shared,
    at: float,
    beside: Process | None = None,
    *,
    again: bool = False,
) -> Decision:
    """Go where a tenant belongs that has no process, or none but the one that is to be replaced."""
    if tenant.leaving:
        leaving = tenant.leaving.state
        if _must_wait(goal, leaving.run):  # it is all that is left
            return Decision(structs.replace(tenant, state=leaving, leaving=None))
        beside = leaving.run.process
    match goal:
        case Unwanted() if goal.gone:
            # what was never there has left nothing behind, and its name may be anything
            left = tenant.wish.seq and not isinstance(tenant.state, Gone)
            forget = [Forget(tenant=tenant.name)] if left else []
            tenant = structs.replace(forgive(tenant), database="")  # another one may get its name
            return Decision(_to(tenant, Gone(reason=goal.reason)), forget)
        case Unwanted():
            return Decision(_to(forgive(tenant), Stopped(by=goal.by, reason=goal.reason)))
        case Lacking():
            record = structs.replace(tenant.record, failures=(), probation=False)
            tenant = structs.replace(tenant, record=record)
            return Decision(_to(tenant, Waiting(reason=goal.reason, quiet=goal.quiet)))
        case Unused() if isinstance(tenant.state, Sleeping):
            return Decision(tenant)
        case Unused():
            return Decision(_to(tenant, Sleeping()), [Listen(tenant=tenant.name, release=goal.release)])
        case Target():
            again = again or isinstance(tenant.state, Sleeping)
            if tenant.database not in {"", goal.database}:
                return _move(tenant, goal, shared, at, beside, again=again)
            return _spawn(tenant, goal, beside, again=again, comes=_comes(tenant.state, goal))
        case _:
            assert_never(goal)


def _comes(state: State, goal: Target) -> bool:
    """Tell whether a tenant has waited for its database, or made room for a successor of its own there."""
    match state:
        case Waiting():
            return not state.quiet and bool(goal.database)
        case Exited():
            return state.run.target.database not in {"", goal.database}
        case _:
            return False


def _must_wait(goal: Aim, leaving: Run) -> bool:
    """Tell whether nothing can be started before a process has left."""
    return not isinstance(goal, Target) or goal.alone or leaving.target.alone


def _spawn(
    tenant: Tenant, target: Target, beside: Process | None, *, again: bool, comes: bool = False
) -> Decision:
    spawn = Spawn(
        tenant=tenant.name,
        release=target.release,
        database=target.database,
        settings=tenant.wish.settings,
        stamp=label(target),
        again=again,
        comes=comes,
        beside=beside,
    )
    record = tenant.record
    record = structs.replace(record, restarts=record.restarts + record.fallen, fallen=False)
    asked = Asked(target=target, source=tenant.database)
    tenant = structs.replace(tenant, record=record, database=target.database)
    return Decision(_to(tenant, asked), [spawn])


def _move(  # noqa: PLR0913  # as for _rest
    tenant: Tenant, target: Target, shared: Shared, at: float, beside: Process | None, *, again: bool
) -> Decision:
    """Start on another database than before, once that has what the one before had, and tell of it."""
    report = hold_back(tenant, target.database, shared, at)
    if isinstance(report, CatchingUp):
        return Decision(_to(tenant, structs.replace(report, again=again)))
    reason = _why_there(tenant, tenant.database, target.database, shared)
    event = moved(tenant, None, target.database, reason, report)
    if beside and not tenant.leaving:
        event = structs.replace(event, serving=beside.pid)
        tenant = structs.replace(tenant, said=event)
    tenant, actions = _spawn(tenant, target, beside, again=again or beside is not None, comes=True)
    return Decision(tenant, [Publish(tenant=tenant.name, event=event), *actions])


def _pause(
    tenant: Tenant, state: Backoff | Fatal, shared: Shared, at: float, beside: Process | None
) -> Decision:
    goal = aim(tenant, shared)
    changed = goal != state.target and not isinstance(goal, Unused)
    if changed or (tenant.record.excused and not is_down(shared, state.target.database)):  # why it failed
        return _rest(forgive(tenant), goal, shared, at, beside)
    if at >= state.until:
        return _rest(tenant, goal, shared, at, beside)
    return Decision(tenant)


def _queue(tenant: Tenant, state: Asked, goal: Aim) -> Decision:
    if goal == state.target:
        return Decision(tenant)
    return withdraw(tenant, state)


def withdraw(tenant: Tenant, state: Asked) -> Decision:
    """Take a start back."""
    withdrawing = Withdrawing(target=state.target, source=state.source)
    return Decision(_to(tenant, withdrawing), [Withdraw(tenant=tenant.name)])


# ---------------------------------------------------------------- with a process


def _compare(tenant: Tenant, state: Starting | Running, shared: Shared, at: float) -> Decision:
    """Keep what runs, unless something else should: then what serves is replaced, what starts is stopped."""
    held = state.run.target
    goal = aim(tenant, shared, held)
    if isinstance(goal, Lacking) and goal.quiet:
        return Decision(tenant)
    if goal != held:
        if isinstance(state, Running) and may_serve_on(goal):
            reason = _why(tenant, held, goal, shared)
            return Decision(_to(tenant, Replacing(old=state, new=Idle(), reason=reason)))
        return stop(tenant, state, goal, shared, at)
    timeout = shared.defaults.start_timeout
    if isinstance(state, Starting) and at >= state.since + timeout:
        failure = f"not ready within {timeout:g} s"
        return _kill(tenant, state, failure, at, failure=failure)
    return Decision(tenant)


def may_serve_on(goal: Aim) -> bool:
    """Tell whether what runs is as good as nothing, or may serve until what is wanted does."""
    return isinstance(goal, Target) or (isinstance(goal, Lacking) and (goal.kept or goal.quiet))


def stop(tenant: Tenant, state: Starting | Running, goal: Aim, shared: Shared, at: float) -> Decision:
    """Ask a process to end, since `goal` is something else."""
    run, reason = state.run, _why(tenant, state.run.target, goal, shared)
    actions: list[AnyAction] = [Terminate(tenant=tenant.name, process=run.process)]
    told = stopping(tenant, run, reason, shared, at)
    if isinstance(goal, Unused):
        actions.append(Listen(tenant=tenant.name, release=goal.release))
        told = structs.replace(told, unused=True)
        if not run.target.alone:  # who came at the last moment has time: nobody waits for the end
            settings = tenant.wish.settings
            patience = shared.defaults_of(settings).idle_stop_of(settings)
            told = structs.replace(told, kill_at=max(told.kill_at, at + patience))
    return Decision(_to(tenant, told), actions)


def stopping(tenant: Tenant, run: Run, reason: str, shared: Shared, at: float) -> Stopping:
    settings = tenant.wish.settings
    return Stopping(
        run=run, reason=reason, kill_at=at + shared.defaults_of(settings).stop_timeout_of(settings)
    )


def _why(tenant: Tenant, held: Target, goal: Aim, shared: Shared) -> str:
    """Say in words why what runs must go."""
    if isinstance(goal, Unused):
        settings = tenant.wish.settings
        return f"not used for {shared.defaults_of(settings).idle_stop_of(settings):g} s"
    if not isinstance(goal, Target):
        return goal.reason
    if goal.asked != held.asked:
        return tenant.order.oversize or f"restart requested by {tenant.order.words}"
    if goal.database != held.database:
        return _why_there(tenant, held.database, goal.database, shared)
    if goal.release != held.release:
        return f"{goal.release} instead of {held.release}"
    return "its settings changed"


def _why_there(tenant: Tenant, source: str, target: str, shared: Shared) -> str:
    """Say in words why one database is left for another."""
    if tenant.back and tenant.back.target == target:
        return tenant.back.reason
    return against(shared, source)


def _insist(tenant: Tenant, state: Stopping | Killing, shared: Shared, at: float) -> Decision:
    if isinstance(state, Stopping):
        if state.unused and isinstance(goal := aim(tenant, shared), Unwanted):  # there is less time for that
            told = stopping(tenant, state.run, goal.reason, shared, at)
            return Decision(_to(tenant, told))
        if at < state.kill_at:
            return Decision(tenant)
        return _kill(tenant, state, f"{state.reason}; did not end in time, killed", at)
    if at < state.again_at:
        return Decision(tenant)
    again = structs.replace(
        state,
        again_at=at + KILL_AGAIN,
        reason=state.reason if state.tries > 1 else f"{state.reason}; SIGKILL has not ended it yet",
        tries=state.tries + 1,
    )
    return Decision(_to(tenant, again), [Kill(tenant=tenant.name, process=state.run.process)])


def _kill(
    tenant: Tenant, state: Starting | Running | Stuck | Stopping, reason: str, at: float, *, failure: str = ""
) -> Decision:
    killing = Killing(
        run=state.run,
        reason=reason,
        failure=failure,
        served=state.served if isinstance(state, Stuck) else 0.0,
        again_at=at + KILL_AGAIN,
        tries=1,
    )
    return Decision(_to(tenant, killing), [Kill(tenant=tenant.name, process=state.run.process)])


# ---------------------------------------------------------------- after the end


def _account(
    tenant: Tenant, state: Exited | Failed, shared: Shared, at: float, beside: Process | None
) -> Decision:
    """Hold a failure against the tenant, and go on."""
    goal = aim(tenant, shared)
    target = state.target if isinstance(state, Failed) else state.run.target
    if isinstance(state, Exited):
        if not state.failure:
            return _rest_again(tenant, goal, shared, at, beside)
        fallen = tenant.record.fallen or not beside
        tenant = structs.replace(tenant, record=structs.replace(tenant.record, fallen=fallen))
    excused = is_down(shared, target.database)  # it may not be its fault
    if not isinstance(goal, Target) or (excused and goal.database != target.database):
        return _rest_again(tenant, goal, shared, at, beside)
    record = _count(tenant.record, state, shared, at, excused=excused)
    count = len(record.failures)
    never = state.never if isinstance(state, Failed) else state.code == EXIT_NEVER
    if not excused and (never or record.probation or count >= shared.restart.fatal_after):
        tenant = structs.replace(tenant, record=structs.replace(record, probation=True), said=None)
        pause = shared.restart.fatal_retry
        fatal = Fatal(target=target, until=at + pause, pause=pause, failures=count, reason=state.failure)
        return Decision(_to(tenant, fatal))
    # whoever it served is cut off; it runs on demand for those who wait or come again
    tenant = structs.replace(tenant, record=record, awake=not _has_served(state))
    if count == 1 and isinstance(state, Exited) and not beside:
        return _rest_again(tenant, aim(tenant, shared), shared, at, beside)
    tenant = structs.replace(tenant, said=None)  # the same failure once more is news all the same
    pause = _pause_after(count, tenant, shared)
    backoff = Backoff(target=target, until=at + pause, pause=pause, failures=count, reason=state.failure)
    return Decision(_to(tenant, backoff))


def _rest_again(tenant: Tenant, goal: Aim, shared: Shared, at: float, beside: Process | None) -> Decision:
    """Go on after an end; whether a successor may come beside what serves has to be asked anew."""
    return Decision(_to(tenant, Idle())) if beside else _rest(tenant, goal, shared, at, again=True)


def _has_served(state: Exited | Failed) -> bool:
    return isinstance(state, Exited) and (state.crashed or state.served > 0)


def _count(record: Record, state: Exited | Failed, shared: Shared, at: float, *, excused: bool) -> Record:
    """Add a failure; those that are long ago, or before a time of good service, count no more."""
    policy = shared.restart
    if isinstance(state, Exited) and state.served >= policy.stable_after:
        record = structs.replace(record, failures=(), probation=False)
    if record.excused and not excused:
        record = structs.replace(record, failures=())
    recent = tuple(failure for failure in record.failures if failure > at - policy.window)
    return structs.replace(record, failures=(*recent, at), excused=excused)


def _pause_after(failures: int, tenant: Tenant, shared: Shared) -> float:
    """Tell the pause in seconds: twice as long each time, up to a limit, a part of it left to chance."""
    policy = shared.restart
    longest = min(policy.backoff * 2.0 ** min(max(failures - 2, 0), 32), policy.backoff_max)
    return longest * (1 - policy.jitter * chance(tenant.name, tenant.record.restarts, failures))


def _to(tenant: Tenant, state: State) -> Tenant:
    return structs.replace(tenant, state=state)
