from bus.events import (
    AnyEvent,
    DbCaughtUp,
    DbDegraded,
    DbDown,
    DbMisconfigured,
    DbUp,
    Envelope,
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcMoved,
    ProcReady,
    ProcRecovered,
    ProcReplaceFailed,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcStuck,
    ProcWaiting,
    ServiceDown,
    ServiceUp,
    UserAdded,
    UserDeleted,
    UserInvalid,
)
from bus.model import TenantSettings
from cli import view
from tests.unit.cli.envelopes import envelope

ADDED = UserAdded(tenant="acme", path="/t/acme", settings=TenantSettings(package="shop"), stamp="s")
INVALID = UserInvalid(tenant="acme", file="/t/acme/tenant.toml", key="plan", line=3, reason="no", stamp="s")
STARTED = ProcStarted(tenant="acme", pid=7, release="shop-1", database="db1", port=8400, started=99)
READY = ProcReady(tenant="acme", pid=7, release="shop-1", database="db1", port=8400, started=99, restarts=2)


def ps(*events: AnyEvent, now: float = 100.0) -> list[view.TenantRow]:
    """Fold a history as the bus does: the newest USER, PROC and PROC_STARTED count."""
    history = [envelope(seq, event) for seq, event in enumerate(events, 1)]

    def latest(prefix: str) -> list[Envelope]:
        newest = {each.subject: each for each in history if each.type.startswith(prefix)}
        return list(newest.values())

    asked = (latest(prefix) for prefix in ("USER_", "PROC_", "PROC_STARTED", "PROC_READY", "SERVICE_UP"))
    return view.tenants(view.Present(*asked), now)


def test_a_running_tenant_shows_all_that_is_known_of_it() -> None:
    (row,) = ps(ADDED, STARTED, READY)
    assert row == view.TenantRow("acme", "RUNNING", 7, "shop-1", "db1", 8400, 2.0, 2, "")


def test_running_counts_from_the_start_of_the_process_though_it_was_found_again_later() -> None:
    adopted = ProcReady(tenant="acme", pid=7, release="shop-1", started=99, adopted=True)
    (row,) = ps(ADDED, STARTED, READY, adopted)
    assert (row.state, row.since) == ("RUNNING", 2.0)


def test_a_tenant_that_was_removed_and_made_again_is_not_stopped() -> None:
    removed = (UserDeleted(tenant="acme"), ProcStopped(tenant="acme", reason="deleted"))
    (row,) = ps(ADDED, READY, *removed, ADDED)
    assert (row.state, row.since) == ("UNKNOWN", 5.0)
    (row,) = ps(ADDED, READY, *removed, ADDED, STARTED)
    assert row.state == "STARTING"
    by_hand = ProcStopped(tenant="acme", reason="stop requested")
    (row,) = ps(by_hand, ADDED)  # as after the loss of the journal
    assert row.state == "STOPPED"


def test_what_was_stopped_with_everything_is_not_stopped_any_more_once_there_is_a_reactor() -> None:
    all_stop = ProcStopped(tenant="acme", reason="tenantbus is being stopped")
    by_hand = ProcStopped(tenant="acme", reason="stop requested")
    up = ServiceUp(service="reactor", pid=9, version="1")
    assert [row.state for row in ps(ADDED, up, READY, all_stop)] == ["STOPPED"]
    assert [row.state for row in ps(ADDED, READY, all_stop, up)] == ["UNKNOWN"]
    assert [row.state for row in ps(ADDED, READY, by_hand, up)] == ["STOPPED"]


def test_while_it_is_replaced_it_runs_as_the_process_that_serves() -> None:
    history: list[AnyEvent] = [ADDED, STARTED, READY]
    moved = ProcMoved(tenant="acme", database="db1", source="db1", target="db2", reason="down", serving=7)
    started = ProcStarted(tenant="acme", pid=8, release="shop-2", serving=7, reason="restart")
    ready = ProcReady(tenant="acme", pid=8, release="shop-2", database="db2")
    course: list[tuple[AnyEvent, tuple[int | None, str | None], str]] = [
        (moved, (7, "shop-1"), "being moved: db1 -> db2, down"),
        (started, (7, "shop-1"), "being replaced by pid 8: restart"),
        (ready, (8, "shop-2"), ""),
        (
            ProcStopping(tenant="acme", pid=7, release="shop-1", serving=8, reason="restart"),
            (8, "shop-2"),
            "pid 7 finishes its requests: restart",
        ),
        (
            ProcExited(tenant="acme", pid=7, release="shop-1", serving=8, code=0, expected=True),
            (8, "shop-2"),
            "",
        ),
        (
            ProcStarted(tenant="acme", pid=9, serving=8, reason="restart"),
            (8, "shop-2"),
            "being replaced by pid 9: restart",
        ),
        (ProcExited(tenant="acme", pid=9, serving=8, code=1), (8, "shop-2"), "pid 9: exit code 1"),
        (
            ProcReplaceFailed(tenant="acme", release="shop-3", serving=8, reason="broken", retry_in=2.0),
            (8, "shop-2"),
            "not replaced: broken; next try after 2 s",
        ),
    ]
    for event, shown, reason in course:
        history.append(event)
        (row,) = ps(*history)
        assert (row.state, (row.pid, row.release), row.reason) == ("RUNNING", shown, reason), event.type
    (row,) = ps(*history, ProcExited(tenant="acme", pid=8, code=1))
    assert (row.state, row.pid) == ("EXITED", None)


def test_running_counts_from_ready_when_the_start_was_of_another_process() -> None:
    (row,) = ps(ADDED, STARTED, ProcReady(tenant="acme", pid=8))
    assert (row.pid, row.since) == (8, 3.0)


def test_each_process_event_has_its_word() -> None:
    words: dict[AnyEvent, str] = {
        ProcStarted(tenant="acme", pid=7): "STARTING",
        ProcMoved(tenant="acme", source="db1", target="db2"): "STARTING",
        ProcReady(tenant="acme", pid=7): "RUNNING",
        ProcRecovered(tenant="acme", pid=7): "RUNNING",
        ProcStuck(tenant="acme", pid=7): "STUCK",
        ProcStopping(tenant="acme", pid=7): "STOPPING",
        ProcExited(tenant="acme", pid=7, code=1): "EXITED",
        ProcBackoff(tenant="acme"): "BACKOFF",
        ProcFatal(tenant="acme"): "FATAL",
        ProcWaiting(tenant="acme"): "WAITING",
        ProcStopped(tenant="acme"): "STOPPED",
    }
    assert {event: ps(ADDED, event)[0].state for event in words} == words


def test_a_stuck_tenant_keeps_what_the_dispatcher_does_not_know() -> None:
    (row,) = ps(ADDED, STARTED, READY, ProcStuck(tenant="acme", pid=7, stuck_for=5.04))
    assert (row.state, row.pid, row.release, row.port) == ("STUCK", 7, "shop-1", 8400)
    assert row.reason == "for 5.0 s"


def test_only_what_lives_has_a_pid() -> None:
    (row,) = ps(ADDED, STARTED, ProcExited(tenant="acme", pid=7, signal="SIGSEGV"))
    assert (row.state, row.pid, row.reason) == ("EXITED", None, "SIGSEGV")


def test_backoff_tells_how_long_it_still_takes() -> None:
    backoff = ProcBackoff(tenant="acme", reason="ended by SIGSEGV", failures=3, retry_in=10.0)
    (row,) = ps(ADDED, backoff, now=5.0)
    assert row.reason == "ended by SIGSEGV; failure 3, next try in 7 s"
    assert ps(ADDED, backoff, now=500.0)[0].reason == "ended by SIGSEGV; failure 3, being tried again"


def test_an_invalid_tenant_that_runs_goes_on_running_and_says_what_is_wrong() -> None:
    (row,) = ps(ADDED, STARTED, READY, INVALID)
    assert (row.state, row.since, row.reason) == ("RUNNING", 2.0, "tenant.toml:3: plan: no")


def test_an_invalid_tenant_that_does_not_run_is_invalid() -> None:
    for history in ([INVALID], [INVALID, ProcStopped(tenant="acme", reason="no valid settings")]):
        (row,) = ps(*history)
        assert (row.state, row.since, row.reason) == ("INVALID", 1.0, "tenant.toml:3: plan: no")


def test_an_invalid_tenant_that_fails_shows_both() -> None:
    (row,) = ps(ADDED, INVALID, ProcWaiting(tenant="acme", reason="no database"))
    assert (row.state, row.reason) == ("WAITING", "tenant.toml:3: plan: no; no database")


def test_a_tenant_that_nobody_has_spoken_of_is_unknown() -> None:
    (row,) = ps(ADDED)
    assert (row.state, row.since, row.pid) == ("UNKNOWN", 1.0, None)


def test_a_deleted_tenant_is_shown_as_long_as_it_lives() -> None:
    gone = UserDeleted(tenant="acme")
    stopping = ProcStopping(tenant="acme", pid=7, reason="deleted")
    assert ps(ADDED, STARTED, READY, gone, stopping)[0].state == "STOPPING"
    assert ps(ADDED, STARTED, READY, gone, stopping, ProcStopped(tenant="acme")) == []
    assert ps(ADDED, gone) == []


def test_a_name_that_only_somebody_asked_for_is_no_tenant() -> None:
    assert ps(ProcStopped(tenant="nobody", reason="no such tenant")) == []


def test_tenants_are_sorted_and_present_ones_listed() -> None:
    other = UserAdded(tenant="aaa", path="/t/aaa", settings=TenantSettings(package="shop"), stamp="s")
    assert [row.tenant for row in ps(ADDED, other)] == ["aaa", "acme"]
    users = [envelope(1, ADDED), envelope(2, other), envelope(3, UserDeleted(tenant="gone"))]
    assert view.present(users) == ["aaa", "acme"]


def test_databases_are_those_of_the_settings_with_the_tenants_that_run_on_them() -> None:
    events = [
        envelope(
            1,
            DbUp(
                database="db1",
                reason="answers",
                latency=0.01234,
                headroom=140,
                replication="follows h:3306, behind 0 s",
            ),
        ),
        envelope(2, DbDown(database="db2", reason="refused")),
        envelope(3, DbMisconfigured(database="db3", reason="access denied", key="url")),
        envelope(4, DbUp(database="former", reason="answers")),
        envelope(5, DbCaughtUp(source="db2", target="db1", caught_up=True, reason="has everything")),
        envelope(
            6,
            DbDegraded(
                database="db5",
                reason="slow: 2 s",
                kinds=("slow",),
                writable=True,
                since=2.5,
                galera="Primary, Synced, 3 nodes",
            ),
        ),
    ]
    rows = view.databases(["db1", "db2", "db3", "db4", "db5"], events, ps(ADDED, STARTED, READY))
    assert rows == [
        view.DatabaseRow("db1", "UP", 1.0, 1, 0.0123, 140, "follows h:3306, behind 0 s", "answers"),
        view.DatabaseRow("db2", "DOWN", 2.0, 0, 0.0, None, "", "refused"),
        view.DatabaseRow("db3", "MISCONFIGURED", 3.0, 0, 0.0, None, "", "access denied"),
        view.DatabaseRow("db4", "UNKNOWN", None, 0, None, None, "", "dbwatch has said nothing about it yet"),
        view.DatabaseRow("db5", "DEGRADED", 2.5, 0, 0.0, None, "Primary, Synced, 3 nodes", "slow: 2 s"),
    ]


def up(seq: int, pid: int) -> Envelope:
    return envelope(seq, ServiceUp(service="dbwatch", pid=pid, version="1"))


def down(seq: int, pid: int) -> Envelope:
    return envelope(seq, ServiceDown(service="dbwatch", pid=pid, reason="stopped by SIGTERM"))


def test_services_as_they_said_themselves() -> None:
    names = ["dbwatch"]
    assert view.services(names, [up(1, 5)], []) == [view.ServiceRow("dbwatch", "RUNNING", 5, 1.0, None, "")]
    assert view.services(names, [up(1, 5)], [down(2, 5)]) == [
        view.ServiceRow("dbwatch", "STOPPED", None, 2.0, None, "stopped by SIGTERM")
    ]
    assert view.services(names, [], [])[0].state == "UNKNOWN"


def test_the_end_of_a_former_process_may_be_told_late() -> None:
    (row,) = view.services(["dbwatch"], [up(2, 6)], [down(3, 5)])
    assert (row.state, row.pid) == ("RUNNING", 6)
