"""Tells from events what became of a request: pure."""

from typing import NamedTuple, assert_never

from bus.events import (
    Envelope,
    ProcBackoff,
    ProcEvent,
    ProcFatal,
    ProcReady,
    ProcReplaceFailed,
    ProcStarted,
    ProcStopped,
    ProcWaiting,
    RequestEvent,
    RestartRequested,
    StartRequested,
    StopRequested,
)
from cli.describe import outcome

Request = StartRequested | StopRequested | RestartRequested


class Outcome(NamedTuple):
    tenant: str
    done: bool
    state: str
    pid: int | None
    reason: str


class Pursuit:
    """Follows one request: hears all that is said about its tenant after it, and knows the end when it comes.

    What counts is what the request caused, directly or not, and what a process did that was started after
    it: something else (a database that went down) may have got in between as the nearer cause.
    """

    def __init__(self, request: Request, seq: int) -> None:
        self.request = request
        self._ours = {seq}
        self._first = seq
        self._pids: set[int] = set()

    def hear(self, envelope: Envelope) -> Outcome | None:
        event = envelope.event
        if envelope.subject != self.request.tenant or envelope.seq <= self._first:
            return None
        if isinstance(event, RequestEvent):
            return self._other(event, envelope.seq)
        if not isinstance(event, ProcEvent):
            return None
        if isinstance(event, ProcStarted):
            self._pids.add(event.pid)
        if envelope.cause in self._ours or event.pid in self._pids:
            self._ours.add(envelope.seq)
        return self._judge(event, ours=envelope.seq in self._ours)

    def _other(self, event: RequestEvent, seq: int) -> Outcome | None:
        """Somebody asked for something else meanwhile: for the same, which helps, or for the opposite."""
        if isinstance(event, StopRequested) == isinstance(self.request, StopRequested):
            self._ours.add(seq)
            return None
        return self._end(False, "UNKNOWN", f"overtaken by {event.type} of {event.by}")

    def _judge(self, event: ProcEvent, *, ours: bool) -> Outcome | None:
        match self.request:
            case StopRequested():
                return self._end(True, "STOPPED", "") if isinstance(event, ProcStopped) else None
            case StartRequested() | RestartRequested():
                return self._judge_start(event) if ours else None
            case _:
                assert_never(self.request)

    def _judge_start(self, event: ProcEvent) -> Outcome | None:
        match event:
            case ProcReady():
                return self._end(True, "RUNNING", event.reason, event.pid)
            case ProcBackoff():
                return self._end(False, "BACKOFF", outcome(event))
            case ProcFatal():
                return self._end(False, "FATAL", outcome(event))
            case ProcReplaceFailed():
                asked_for_more = isinstance(self.request, RestartRequested)
                return self._end(not asked_for_more, "RUNNING", outcome(event), event.serving)
            case ProcWaiting():
                return self._end(False, "WAITING", event.reason)
            case ProcStopped():
                return self._end(False, "STOPPED", event.reason)
            case _:
                return None

    def _end(self, done: bool, state: str, reason: str, pid: int | None = None) -> Outcome:  # noqa: FBT001
        return Outcome(self.request.tenant, done, state, pid, reason)
