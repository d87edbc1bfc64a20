from typing import cast, get_type_hints

import msgspec
import pytest

from bus.events import (
    BY_TYPE,
    Ailment,
    AnyEvent,
    DbCaughtUp,
    DbDown,
    DbRecheckRequested,
    Event,
    ProcBackoff,
    ProcEvent,
    ProcExited,
    ProcMoved,
    ProcReady,
    ProcStuck,
    ServiceDown,
    ServiceUp,
    StopRequested,
    UserAdded,
    UserInvalid,
    wire_name,
)
from bus.model import PackageSettings, TenantSettings
from cli.describe import describe

SETTINGS = TenantSettings(package="shop==1.4", plan="paid", databases=("db1", "db2"))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            UserAdded(tenant="a", path="/t/a", settings=SETTINGS, stamp="s"),
            "shop==1.4, paid, databases db1 db2",
        ),
        (
            UserInvalid(tenant="a", file="/t/a/tenant.toml", key="plan", line=3, reason="no", stamp="s"),
            "tenant.toml:3: plan: no",
        ),
        (
            UserInvalid(tenant="a", file="/t/a/tenant.toml", key="", line=0, reason="is empty", stamp="s"),
            "tenant.toml: is empty",
        ),
        (DbDown(database="db1", reason="refused", latency=0.0123), "refused (12 ms)"),
        (
            DbCaughtUp(source="db1", target="db2", caught_up=True, reason="has everything"),
            "db2: has everything",
        ),
        (DbRecheckRequested(database="db1", by="ann@host"), "by ann@host"),
        (
            ProcReady(tenant="a", pid=7, release="shop-1", database="db1", port=8400),
            "pid 7 shop-1 on db1 port 8400",
        ),
        (ProcReady(tenant="a", pid=7, adopted=True), "pid 7: found running"),
        (ProcExited(tenant="a", pid=7, signal="SIGSEGV"), "pid 7: SIGSEGV"),
        (ProcExited(tenant="a", pid=7, code=0), "pid 7: exit code 0"),
        (
            ProcBackoff(tenant="a", reason="ended by SIGSEGV", failures=2, retry_in=300.0),
            "ended by SIGSEGV; failure 2, next try after 5 min",
        ),
        (
            ProcMoved(tenant="a", database="db1", source="db1", target="db2", reason="db1 is down"),
            "db1 -> db2, db1 is down",
        ),
        (ProcStuck(tenant="a", pid=7, stuck_for=5.04, reason="stopped"), "pid 7: for 5.0 s, stopped"),
        (ServiceUp(service="broker", pid=7, version="1.2"), "pid 7, version 1.2"),
        (ServiceDown(service="broker", pid=7, reason="ended by SIGKILL"), "pid 7, ended by SIGKILL"),
        (StopRequested(tenant="a", by="me@here"), "by me@here"),
        (StopRequested(tenant="a", by="me@here", reason="unpaid"), "by me@here: unpaid"),
    ],
)
def test_an_event_in_words(event: AnyEvent, words: str) -> None:
    assert describe(event) == words


SPEAK_FOR_THEMSELVES = {"USER_DELETED", "PACKAGE_RELEASED", "PACKAGE_WITHDRAWN", "SETTINGS_CHANGED"}


def example(kind: type[Event]) -> Event:
    """Make an event of a type, with something in every field that must be given."""
    values: dict[object, object] = {
        str: "text",
        int: 1,
        float: 1.0,
        bool: True,
        bool | None: None,
        tuple[Ailment, ...]: ("slow",),
        tuple[str, ...]: ("acme",),
        TenantSettings: {"package": "shop"},
        PackageSettings: {"entry": "a:b"},
    }
    types = get_type_hints(kind)  # without what bus/words.py adds to them
    required = [field for field in msgspec.structs.fields(kind) if field.required]
    given = {field.name: values[types[field.name]] for field in required}
    return msgspec.convert({"type": wire_name(kind.__name__), **given}, kind)


def test_every_event_can_be_told() -> None:
    silent = {name for name, kind in BY_TYPE.items() if not describe(cast("AnyEvent", example(kind)))}
    without_reason = {name for name, kind in BY_TYPE.items() if issubclass(kind, ProcEvent)}
    assert silent - without_reason == SPEAK_FOR_THEMSELVES
