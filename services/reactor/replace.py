"""One step of a tenant, also of one that has two processes: the new one is ready before the old one stops.

While the old process serves, its successor has the course of any process; `Replacing` holds the two together.
Once the successor serves, the old one is what `leaving` tells of, and ends beside whatever happens then.
"""

from typing import assert_never

from msgspec import structs

from services.reactor.actions import AnyAction, Publish, Spawn, Switch, Terminate, Withdraw
from services.reactor.catching_up import Report, hold_back
from services.reactor.say import moved
from services.reactor.state import (
    Asked,
    Backoff,
    CatchingUp,
    Exited,
    Failed,
    Fatal,
    Idle,
    Killing,
    Leaving,
    Replacing,
    Resting,
    Running,
    Single,
    Starting,
    State,
    Stopping,
    Stuck,
    Target,
    Telling,
    Tenant,
    Waiting,
    Withdrawing,
)
from services.reactor.steps import Decision, may_serve_on, step_one, stop, withdraw
from services.reactor.wants import Aim, Shared, aim


def step(tenant: Tenant, shared: Shared, at: float) -> Decision:
    """Take one step: of the process that leaves if it has one to take, else of the tenant."""
    leaving, state = tenant.leaving, tenant.state
    if leaving:
        decision = _leave(tenant, leaving, shared, at)
        if decision.tenant.leaving != leaving:
            return decision
    if isinstance(state, Replacing):
        return _replace(tenant, state, shared, at)
    if isinstance(state, Stopping) and state.unused and not leaving:
        woken = _wake_beside(tenant, state, shared)
        if woken is not tenant:
            return Decision(woken)
    return step_one(tenant, state, shared, at)


def _wake_beside(tenant: Tenant, state: Stopping, shared: Shared) -> Tenant:
    """Let somebody who comes while an unused process ends have another one at once, if both may be."""
    goal = aim(tenant, shared)
    if not isinstance(goal, Target) or goal.alone or state.run.target.alone:
        return tenant
    leaving = Leaving(state=state, reason=state.reason, said=tenant.said)
    return structs.replace(tenant, state=Idle(), leaving=leaving)


def deadline(tenant: Tenant, shared: Shared) -> float | None:
    """Tell when to look at a tenant again though nothing was heard."""
    states: list[State | Telling] = [
        tenant.state.new if isinstance(tenant.state, Replacing) else tenant.state
    ]
    if tenant.leaving:
        states.append(tenant.leaving.state)
    return min(filter(None, (_deadline(state, shared) for state in states)), default=None)


def _deadline(state: State | Telling, shared: Shared) -> float | None:
    match state:
        case Starting():
            return state.since + shared.defaults.start_timeout
        case Stopping():
            return state.kill_at
        case Killing():
            return state.again_at
        case Backoff() | Fatal() | CatchingUp():
            return state.until
        case _:
            return None


def _leave(tenant: Tenant, leaving: Leaving, shared: Shared, at: float) -> Decision:
    """See that the process that was replaced ends."""
    state = leaving.state
    match state:
        case Starting() | Running():
            settings = tenant.wish.settings
            kill_at = at + shared.defaults_of(settings).drain_timeout_of(settings)
            told = Stopping(run=state.run, reason=leaving.reason, kill_at=kill_at)
            terminate = Terminate(tenant=tenant.name, process=state.run.process)
            return Decision(_leave_as(tenant, leaving, told), [terminate])
        case Stuck() | Stopping() | Killing():
            state = _hurried(tenant, state, shared, at)
            one, actions = step_one(structs.replace(tenant, state=state), state, shared, at)
            assert isinstance(one.state, Stopping | Killing)  # noqa: S101  # nothing else comes of these
            return Decision(_leave_as(tenant, leaving, one.state), actions)
        case Exited():
            return Decision(structs.replace(tenant, leaving=None))
        case _:
            assert_never(state)


def _hurried(
    tenant: Tenant, state: Stuck | Stopping | Killing, shared: Shared, at: float
) -> Stuck | Stopping | Killing:
    """Leave less time to a process that leaves when something waits for that."""
    if not isinstance(state, Stopping) or not _is_waited_for(tenant, shared):
        return state
    settings = tenant.wish.settings
    latest = at + shared.defaults_of(settings).stop_timeout_of(settings)
    return structs.replace(state, kill_at=min(state.kill_at, latest))


def _is_waited_for(tenant: Tenant, shared: Shared) -> bool:
    """Tell whether the end of the process that leaves holds something up."""
    goal = aim(tenant, shared)
    alone = isinstance(goal, Target) and goal.alone
    return alone or not may_serve_on(goal) or isinstance(tenant.state, Replacing)


def _leave_as(tenant: Tenant, leaving: Leaving, state: Stopping | Killing) -> Tenant:
    return structs.replace(tenant, leaving=structs.replace(leaving, state=state))


# ---------------------------------------------------------------- while both are there


def _replace(tenant: Tenant, both: Replacing, shared: Shared, at: float) -> Decision:
    """Bring the successor on its way, as long as the old process may serve and should be replaced."""
    held = both.old.run.target
    goal = aim(tenant, shared, held)
    if not may_serve_on(goal):
        return _stop_both(tenant, both, goal, shared, at)
    if isinstance(both.new, Telling):
        return _await_answer(tenant, both, both.new, goal)
    if goal == held:
        return _call_off(tenant, both, goal, shared, at)
    if isinstance(goal, Target) and _can_be_told(both, goal):
        return _tell(tenant, both, goal, shared, at)
    if isinstance(both.new, Resting):
        if tenant.leaving:  # there is never a third process
            return Decision(tenant)
        fresh = aim(tenant, shared)
        if isinstance(fresh, Target) and (fresh.alone or held.alone):
            return _give_way(tenant, both, fresh, shared, at)
    return _step_new(tenant, both, both.new, shared, at)


def _step_new(tenant: Tenant, both: Replacing, new: Single, shared: Shared, at: float) -> Decision:
    one = structs.replace(tenant, state=new)
    after, actions = step_one(one, new, shared, at, both.old.run.process)
    return _with_new(both, Decision(after, [_coming(action, both.old) for action in actions]))


def _coming(action: AnyAction, old: Running) -> AnyAction:
    """See that each successor that comes to another database takes a token, also after one that failed."""
    if isinstance(action, Spawn) and action.database != old.run.target.database:
        return structs.replace(action, comes=True, again=True)
    return action


def _give_way(tenant: Tenant, both: Replacing, goal: Target, shared: Shared, at: float) -> Decision:
    """End the old process before the new one starts, since they cannot stand each other."""
    run, report = both.old.run, _hold_back(tenant, both, goal, shared, at)
    if isinstance(report, CatchingUp):
        return _wait(tenant, both, report)
    stopped, actions = stop(structs.replace(tenant, state=both.old), both.old, goal, shared, at)
    if goal.database == run.target.database:
        return Decision(stopped, actions)
    event = moved(tenant, run, goal.database, both.reason, report)
    stopped = structs.replace(stopped, database=goal.database)
    return Decision(stopped, [Publish(tenant=tenant.name, event=event), *actions])


def _hold_back(
    tenant: Tenant, both: Replacing, goal: Target, shared: Shared, at: float
) -> CatchingUp | Report:
    return hold_back(structs.replace(tenant, state=both.new), goal.database, shared, at)


def _wait(tenant: Tenant, both: Replacing, wait: CatchingUp) -> Decision:
    return Decision(structs.replace(tenant, state=structs.replace(both, new=wait)))


def _with_new(both: Replacing, decision: Decision) -> Decision:
    tenant, actions = decision
    assert not isinstance(tenant.state, Replacing)  # noqa: S101  # of one process there comes one
    return Decision(structs.replace(tenant, state=structs.replace(both, new=tenant.state)), actions)


def _stop_both(tenant: Tenant, both: Replacing, goal: Aim, shared: Shared, at: float) -> Decision:
    """Stop the old process; the new one, if there is one, is then all that there is."""
    stopped, actions = stop(tenant, both.old, goal, shared, at)
    if isinstance(both.new, Telling):  # it has not left its database, as far as anybody knows
        stopped = structs.replace(stopped, database=both.old.run.target.database)
        return Decision(stopped, [*actions, Withdraw(tenant=tenant.name)])
    if isinstance(both.new, Resting | Exited | Failed):
        return Decision(stopped, actions)
    assert isinstance(stopped.state, Stopping)  # noqa: S101
    leaving = Leaving(state=stopped.state, reason=stopped.state.reason)
    return Decision(structs.replace(stopped, state=both.new, leaving=leaving), actions)


def _call_off(tenant: Tenant, both: Replacing, goal: Aim, shared: Shared, at: float) -> Decision:
    """Keep the old process after all: what was wrong with it is so no more."""
    new, one = both.new, structs.replace(tenant, state=both.new)
    match new:
        case Asked():
            return _with_new(both, withdraw(one, new))
        case Starting() | Running():
            return _with_new(both, stop(one, new, goal, shared, at))
        case Withdrawing() | Stuck() | Stopping() | Killing():
            return _step_new(tenant, both, new, shared, at)
        case _:
            return Decision(structs.replace(tenant, state=both.old, database=both.old.run.target.database))


# ---------------------------------------------------------------- in place


def _can_be_told(both: Replacing, goal: Target) -> bool:
    """Tell whether only another database is wanted, the process takes one, and nothing is under way."""
    run = both.old.run
    alike = goal == structs.replace(run.target, database=goal.database)
    return run.switches and alike and isinstance(both.new, Idle | Waiting | CatchingUp)


def _tell(tenant: Tenant, both: Replacing, goal: Target, shared: Shared, at: float) -> Decision:
    """Have the process that serves use another database, since it has asked to be told."""
    run, report = both.old.run, _hold_back(tenant, both, goal, shared, at)
    if isinstance(report, CatchingUp):
        return _wait(tenant, both, report)
    event = moved(tenant, run, goal.database, both.reason, report)
    event = structs.replace(event, serving=run.process.pid)
    switch = Switch(
        tenant=tenant.name, process=run.process, database=goal.database, settings=tenant.wish.settings
    )
    told = structs.replace(both, new=Telling(target=goal))
    return Decision(
        structs.replace(tenant, state=told, database=goal.database, said=event),
        [Publish(tenant=tenant.name, event=event), switch],
    )


def _await_answer(tenant: Tenant, both: Replacing, telling: Telling, goal: Aim) -> Decision:
    """Wait for the answer, which comes in any case; what is not wanted any more is withdrawn."""
    if telling.withdrawn or goal == telling.target:
        return Decision(tenant)
    withdrawn = structs.replace(both, new=structs.replace(telling, withdrawn=True))
    return Decision(structs.replace(tenant, state=withdrawn), [Withdraw(tenant=tenant.name)])
