"""What others are told about a state: each state has its event, or none when it passes at once."""

from typing import Any, assert_never

from bus.events import (
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcMoved,
    ProcReady,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcWaiting,
)
from services.reactor.actions import OwnEvent
from services.reactor.state import (
    Asked,
    Backoff,
    Exited,
    Failed,
    Fatal,
    Gone,
    Idle,
    Killing,
    Run,
    Running,
    Starting,
    Stopped,
    Stopping,
    Stuck,
    Tenant,
    Waiting,
    Withdrawing,
)


def say(tenant: Tenant) -> OwnEvent | None:
    """Tell the event that stands for the tenant's state."""
    facts: dict[str, Any] = {"tenant": tenant.name, "restarts": tenant.record.restarts}
    state = tenant.state
    match state:
        case Idle() | Asked() | Withdrawing() | Failed() | Stuck():
            return None
        case Stopped():
            return ProcStopped(**facts, by=state.by, reason=state.reason)
        case Gone():
            return ProcStopped(**facts, reason=state.reason)
        case Waiting():
            return None if state.quiet else ProcWaiting(**facts, reason=state.reason)
        case Backoff() | Fatal():
            return _failing(state, facts)
        case Starting() | Running() | Stopping() | Killing() | Exited():
            return _alive(state, facts | _about(state.run))
        case _:
            assert_never(state)


def moved(tenant: Tenant, run: Run | None, target: str, reason: str) -> ProcMoved:
    """Tell that a tenant leaves the database that it uses, or used last, for another one."""
    facts: dict[str, Any] = _about(run) if run else {"database": tenant.database}
    return ProcMoved(
        **facts,
        tenant=tenant.name,
        restarts=tenant.record.restarts,
        source=facts["database"],
        target=target,
        reason=reason,
    )


def _about(run: Run) -> dict[str, Any]:
    return {
        "pid": run.process.pid,
        "release": run.target.release,
        "database": run.target.database,
        "port": run.port,
    }


def _failing(state: Backoff | Fatal, facts: dict[str, Any]) -> OwnEvent:
    event = ProcBackoff if isinstance(state, Backoff) else ProcFatal
    return event(
        **facts,
        release=state.target.release,
        database=state.target.database,
        reason=state.reason,
        failures=state.failures,
        retry_in=state.pause,
    )


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
