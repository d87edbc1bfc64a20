from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.events import (
    BY_TYPE,
    AnyEvent,
    Envelope,
    PackageInvalid,
    PackageReleased,
    PackageWithdrawn,
    SettingsChanged,
    SettingsInvalid,
    UserAdded,
    UserDeleted,
    UserInvalid,
    UserModified,
)
from bus.model import PackageSettings, TenantSettings
from services.pathwatch.decide import (
    UNKNOWN,
    Gone,
    Invalid,
    Key,
    Known,
    Release,
    Said,
    SettingsFile,
    Sight,
    Subject,
    Tenant,
    ValidRelease,
    ValidSettings,
    ValidTenant,
    believed,
    decide,
    learn,
    recall,
)

SETTINGS = TenantSettings(package="shop")
PACKAGE = PackageSettings(entry="app:make")
ACME, SHOP, FILE = Tenant("acme"), Release("shop", "1.0"), SettingsFile("/etc/tenantbus.toml")

VALID = ValidTenant(path="/t/acme", settings=SETTINGS, stamp="1", secrets="s")
CHANGED = ValidTenant(path="/t/acme", settings=SETTINGS, stamp="2", secrets="s")
INVALID = Invalid(file="/f", key="k", line=3, reason="wrong", stamp="3")
WORSE = Invalid(file="/f", key="k", line=4, reason="wrong", stamp="4")
RELEASED = ValidRelease(path="/p/shop/1.0", settings=PACKAGE, stamp="1")
REBUILT = ValidRelease(path="/p/shop/1.0", settings=PACKAGE, stamp="2")

NEVER_VALID = learn(
    UNKNOWN, UserInvalid(tenant="acme", file="/f", key="k", line=3, reason="wrong", stamp="3")
)
ADDED = learn(UNKNOWN, UserAdded(tenant="acme", path="/t/acme", settings=SETTINGS, stamp="1", secrets="s"))
SPOILT = learn(ADDED, UserInvalid(tenant="acme", file="/f", key="k", line=3, reason="wrong", stamp="3"))
DELETED = learn(ADDED, UserDeleted(tenant="acme"))
SHOP_RELEASED = learn(
    UNKNOWN,
    PackageReleased(
        release="shop-1.0", app="shop", version="1.0", path="/p/shop/1.0", settings=PACKAGE, stamp="1"
    ),
)
SHOP_WITHDRAWN = learn(SHOP_RELEASED, PackageWithdrawn(release="shop-1.0"))
FILE_READ = learn(UNKNOWN, SettingsChanged(file=FILE.name, stamp="1"))
FILE_SPOILT = learn(FILE_READ, SettingsInvalid(file=FILE.name, key="k", line=3, reason="wrong", stamp="3"))


class Case(NamedTuple):
    known: Known
    subject: Subject
    seen: Sight
    says: type[Said] | None


@pytest.mark.parametrize(
    "case",
    [
        Case(UNKNOWN, ACME, VALID, UserAdded),
        Case(UNKNOWN, ACME, INVALID, UserInvalid),
        Case(UNKNOWN, ACME, Gone(), None),
        Case(ADDED, ACME, VALID, None),
        Case(ADDED, ACME, CHANGED, UserModified),
        Case(ADDED, ACME, INVALID, UserInvalid),
        Case(ADDED, ACME, Gone(), UserDeleted),
        Case(
            learn(
                ADDED, UserModified(tenant="acme", path="/t/acme", settings=SETTINGS, stamp="1", secrets="s")
            ),
            ACME,
            VALID,
            None,
        ),
        Case(NEVER_VALID, ACME, INVALID, None),
        Case(NEVER_VALID, ACME, WORSE, UserInvalid),
        Case(NEVER_VALID, ACME, VALID, UserAdded),
        Case(NEVER_VALID, ACME, Gone(), UserDeleted),
        Case(SPOILT, ACME, VALID, UserModified),
        Case(SPOILT, ACME, INVALID, None),
        Case(DELETED, ACME, Gone(), None),
        Case(DELETED, ACME, VALID, UserAdded),
        Case(DELETED, ACME, INVALID, UserInvalid),
        Case(
            learn(DELETED, UserInvalid(tenant="acme", file="", key="", line=0, reason="", stamp="")),
            ACME,
            VALID,
            UserAdded,
        ),
        Case(UNKNOWN, SHOP, RELEASED, PackageReleased),
        Case(UNKNOWN, SHOP, INVALID, PackageInvalid),
        Case(UNKNOWN, SHOP, Gone(), None),
        Case(SHOP_RELEASED, SHOP, RELEASED, None),
        Case(SHOP_RELEASED, SHOP, REBUILT, PackageReleased),
        Case(SHOP_RELEASED, SHOP, Gone(), PackageWithdrawn),
        Case(SHOP_WITHDRAWN, SHOP, Gone(), None),
        Case(SHOP_WITHDRAWN, SHOP, RELEASED, PackageReleased),
        Case(UNKNOWN, FILE, ValidSettings(stamp="1"), SettingsChanged),
        Case(FILE_READ, FILE, ValidSettings(stamp="1"), None),
        Case(FILE_READ, FILE, ValidSettings(stamp="2"), SettingsChanged),
        Case(FILE_READ, FILE, INVALID, SettingsInvalid),
        Case(FILE_SPOILT, FILE, INVALID, None),
        Case(FILE_SPOILT, FILE, ValidSettings(stamp="1"), SettingsChanged),
    ],
)
def test_what_is_said(case: Case) -> None:
    said = decide(case.subject, case.known, case.seen)
    assert type(said) is (case.says or type(None))


def test_what_is_said_of_a_tenant_tells_what_was_seen() -> None:
    assert decide(ACME, UNKNOWN, VALID) == UserAdded(
        tenant="acme", path="/t/acme", settings=SETTINGS, stamp="1", secrets="s"
    )
    assert decide(ACME, ADDED, INVALID) == UserInvalid(
        tenant="acme", file="/f", key="k", line=3, reason="wrong", stamp="3"
    )


def test_what_the_bus_believes_to_be_there() -> None:
    invalid = PackageInvalid(release="my-shop-2.0", file="", key="", line=0, reason="", stamp="")
    known = [ADDED, NEVER_VALID, DELETED, SHOP_RELEASED, SHOP_WITHDRAWN, FILE_READ, Known(invalid)]
    assert believed(known) == [ACME, ACME, SHOP, Release("my-shop", "2.0")]


# ---------------------------------------------------------------- any history

tenants = st.sampled_from([Tenant("acme"), Tenant("beta")])
valid_tenants = st.builds(
    ValidTenant,
    path=st.just("/t"),
    settings=st.builds(TenantSettings, package=st.just("shop"), plan=st.sampled_from(["paid", "free"])),
    stamp=st.sampled_from(["1", "2"]),
    secrets=st.just("s"),
)
invalid = st.builds(
    Invalid,
    file=st.just("/f"),
    key=st.just(""),
    line=st.integers(0, 1),
    reason=st.just("wrong"),
    stamp=st.just("3"),
)
gone = st.just(Gone())
sights = st.one_of(
    st.tuples(tenants, st.one_of(valid_tenants, invalid, gone)),
    st.tuples(
        st.sampled_from([Release("shop", "1.0"), Release("my-shop", "1.0")]),
        st.one_of(st.sampled_from([RELEASED, REBUILT]), invalid, gone),
    ),
    st.tuples(st.just(FILE), st.one_of(st.builds(ValidSettings, stamp=st.sampled_from(["1", "2"])), invalid)),
)


class Journal:
    """Keeps what was said as the bus does."""

    def __init__(self) -> None:
        self.said: list[Envelope] = []

    def say(self, event: AnyEvent) -> None:
        seq = len(self.said) + 1
        envelope = Envelope(
            seq=seq,
            id=str(seq),
            time=0.0,
            type=event.type,
            subject=event.subject,
            node="",
            source="",
            cause=0,
            event=event,
        )
        self.said.append(envelope)

    def latest(self, *types: str) -> list[Envelope]:
        newest = {(e.event.family, e.subject): e for e in self.said if not types or e.type in types}
        return list(newest.values())

    def recall(self) -> dict[Key, Known]:
        return recall(self.latest(), self.latest("USER_ADDED"), self.latest("USER_DELETED"))


def tells(said: AnyEvent | None) -> Sight:
    """What a listener believes the disk to show."""
    match said:
        case UserAdded() | UserModified():
            return ValidTenant(path=said.path, settings=said.settings, stamp=said.stamp, secrets=said.secrets)
        case PackageReleased():
            return ValidRelease(path=said.path, settings=said.settings, stamp=said.stamp)
        case SettingsChanged():
            return ValidSettings(stamp=said.stamp)
        case UserInvalid() | PackageInvalid():
            return Invalid(file=said.file, key=said.key, line=said.line, reason=said.reason, stamp=said.stamp)
        case SettingsInvalid():
            return Invalid(file="/f", key=said.key, line=said.line, reason=said.reason, stamp=said.stamp)
        case _:
            return Gone()


@given(st.lists(st.tuples(sights, st.booleans()), max_size=40))
def test_any_history_adds_up_to_what_is_there_and_nothing_is_said_without_a_change(
    history: list[tuple[tuple[Subject, Sight], bool]],
) -> None:
    journal = Journal()
    known: dict[Key, Known] = {}
    disk: dict[Key, Sight] = {}
    for (subject, seen), restart in history:
        if restart:
            rebuilt = journal.recall()
            assert rebuilt == known
            known = rebuilt
        before = disk.get(subject.key, Gone())
        disk[subject.key] = seen
        said = decide(subject, known.get(subject.key, UNKNOWN), seen)
        assert (said is not None) == (seen != before)
        if said is not None:
            assert (said.family, said.subject) == subject.key
            journal.say(said)
            known[subject.key] = learn(known.get(subject.key, UNKNOWN), said)
        assert decide(subject, known.get(subject.key, UNKNOWN), seen) is None
    newest = {(e.event.family, e.subject): tells(e.event) for e in journal.latest()}
    assert {key: newest.get(key, Gone()) for key in disk} == disk
    assert_added_and_deleted_take_turns(journal)


def assert_added_and_deleted_take_turns(journal: Journal) -> None:
    for tenant in ("acme", "beta"):
        present = False
        for envelope in journal.said:
            if envelope.subject == tenant:
                if envelope.type in ("USER_ADDED", "USER_MODIFIED"):
                    assert present == (envelope.type == "USER_MODIFIED")
                    present = True
                elif envelope.type == "USER_DELETED":
                    present = False


def test_every_event_of_pathwatch_can_be_said() -> None:
    ours = {name for name, event in BY_TYPE.items() if event.speaker == "pathwatch"}
    assert ours == {name for name, event in BY_TYPE.items() if issubclass(event, Said)}
