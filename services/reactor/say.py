"""What others are told about a state: each state has its event, or none when it passes at once."""

from typing import Any, assert_never

from bus.events import (
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcMoved,
    ProcReady,
    ProcReplaceFailed,
    ProcSleeping,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcWaiting,
)
from services.reactor.actions import OwnEvent
from services.reactor.catching_up import Report
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
    Replacing,
    Run,
    Running,
    Single,
    Sleeping,
    Starting,
    Stopped,
    Stopping,
    Stuck,
    Telling,
    Tenant,
    Waiting,
    Withdrawing,
)


def say(tenant: Tenant) -> OwnEvent | None:
    """Tell the event that stands for the tenant's state."""
    facts = _facts(tenant)
    state = tenant.state
    if isinstance(state, Replacing):
        return _say_new(state, facts | {"serving": state.old.run.process.pid})
    return _say_one(state, facts)


def say_leaving(tenant: Tenant) -> OwnEvent | None:
    """Tell the event that stands for what the process does that is leaving."""
    if tenant.leaving is None or not isinstance(tenant.leaving.state, Stopping | Killing | Exited):
        return None
    return _say_one(tenant.leaving.state, _facts(tenant) | {"serving": _serving(tenant)})


def _facts(tenant: Tenant) -> dict[str, Any]:
    """Tell what all events say: also where a tenant without a process was last, for a reactor after us."""
    return {"tenant": tenant.name, "restarts": tenant.record.restarts, "database": tenant.database}


def is_known(event: OwnEvent, said: OwnEvent | None) -> bool:
    """Tell whether somebody who heard `said` last knows what `event` says, too."""
    if said is None or isinstance(said, ProcReplaceFailed | ProcMoved):
        return event == said
    return event == said or (isinstance(event, ProcReady) and event.pid == said.serving)


def _serving(tenant: Tenant) -> int:
    """Tell the pid of what serves, 0 for none."""
    serving = tenant.state.old if isinstance(tenant.state, Replacing) else tenant.state
    return serving.run.process.pid if isinstance(serving, Running) else 0


def _say_new(both: Replacing, facts: dict[str, Any]) -> OwnEvent | None:
    """Tell of a process that is to replace another."""
    match both.new:
        case Waiting() as new:
            return None if new.quiet else ProcReplaceFailed(**facts, reason=new.reason)
        case Backoff() | Fatal() as new:
            return ProcReplaceFailed(**facts | _failure(new))
        case Starting() as new:
            return _alive(new, facts | _about(new.run) | {"reason": both.reason})
        case Telling():
            return None
        case new:
            return _say_one(new, facts)


def _say_one(state: Single, facts: dict[str, Any]) -> OwnEvent | None:
    match state:
        case Idle() | CatchingUp() | Asked() | Withdrawing() | Failed() | Stuck():
            return None
        case Stopped():
            return ProcStopped(**facts, by=state.by, reason=state.reason)
        case Gone():
            return ProcStopped(**facts, reason=state.reason)
        case Waiting():
            return None if state.quiet else ProcWaiting(**facts, reason=state.reason)
        case Sleeping():
            return ProcSleeping(**facts)
        case Backoff():
            return ProcBackoff(**facts | _failure(state))
        case Fatal():
            return ProcFatal(**facts | _failure(state))
        case Starting() | Running() | Stopping() | Killing() | Exited():
            return _alive(state, facts | _about(state.run))
        case _:
            assert_never(state)


def moved(tenant: Tenant, run: Run | None, target: str, reason: str, report: Report) -> ProcMoved:
    """Tell that a tenant leaves the database that its process uses, or that it used last, for another one."""
    facts: dict[str, Any] = _about(run) if run else {"database": tenant.database}
    return ProcMoved(
        **facts,
        tenant=tenant.name,
        restarts=tenant.record.restarts,
        source=facts["database"],
        target=target,
        reason=reason,
        caught_up=report.caught_up,
        waited=report.waited,
    )


def _about(run: Run) -> dict[str, Any]:
    return {
        "pid": run.process.pid,
        "release": run.target.release,
        "database": run.target.database,
        "port": run.port,
    }


def _failure(state: Backoff | Fatal) -> dict[str, Any]:
    return {
        "release": state.target.release,
        "database": state.target.database,
        "reason": state.reason,
        "failures": state.failures,
        "retry_in": state.pause,
    }


def _alive(state: Starting | Running | Stopping | Killing | Exited, facts: dict[str, Any]) -> OwnEvent:
    started = state.run.process.started
    match state:
        case Starting():
            return ProcStarted(**facts, started=started)
        case Running():
            return ProcReady(**facts, started=started, adopted=state.adopted)
        case Stopping() | Killing():
            return ProcStopping(**facts, reason=state.reason)
        case Exited():
            return ProcExited(
                **facts,
                code=state.code,
                signal=state.signal,
                expected=not state.failure,
                reason=state.failure,
            )
        case _:
            assert_never(state)
