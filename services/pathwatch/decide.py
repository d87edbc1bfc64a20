"""What to say: compares what was said last about a subject with what the disk shows now. Pure."""

from collections.abc import Iterable
from typing import TypeAlias, assert_never

from msgspec import Struct

from bus.events import (
    AnyEvent,
    Envelope,
    PackageEvent,
    PackageInvalid,
    PackageReleased,
    PackageWithdrawn,
    SettingsChanged,
    SettingsEvent,
    SettingsInvalid,
    UserAdded,
    UserDeleted,
    UserEvent,
    UserInvalid,
    UserModified,
)
from bus.model import PackageSettings, TenantSettings

# ---------------------------------------------------------------- what a sight is of


Key: TypeAlias = tuple[str, str]
"""Family and subject of its events."""


class Tenant(Struct, frozen=True):
    name: str

    @property
    def key(self) -> Key:
        return UserEvent.family, self.name


class Release(Struct, frozen=True):
    app: str
    version: str

    @property
    def name(self) -> str:
        return f"{self.app}-{self.version}"

    @property
    def key(self) -> Key:
        return PackageEvent.family, self.name


class SettingsFile(Struct, frozen=True):
    name: str

    @property
    def key(self) -> Key:
        return SettingsEvent.family, self.name


Subject: TypeAlias = Tenant | Release | SettingsFile

# ---------------------------------------------------------------- what the disk shows


class ValidTenant(Struct, frozen=True, kw_only=True):
    path: str
    settings: TenantSettings
    stamp: str
    secrets: str


class ValidRelease(Struct, frozen=True, kw_only=True):
    path: str
    settings: PackageSettings
    stamp: str


class ValidSettings(Struct, frozen=True, kw_only=True):
    stamp: str


class Invalid(Struct, frozen=True, kw_only=True):
    """It is there and cannot be used."""

    file: str
    key: str
    line: int
    reason: str
    stamp: str


class Gone(Struct, frozen=True):
    """It is not there, or not a tenant or release yet."""


Valid: TypeAlias = ValidTenant | ValidRelease | ValidSettings
Sight: TypeAlias = Valid | Invalid | Gone

# ---------------------------------------------------------------- what was said

TenantSaid: TypeAlias = UserAdded | UserModified | UserDeleted | UserInvalid
ReleaseSaid: TypeAlias = PackageReleased | PackageWithdrawn | PackageInvalid
SettingsSaid: TypeAlias = SettingsChanged | SettingsInvalid
Said: TypeAlias = TenantSaid | ReleaseSaid | SettingsSaid
BadNews: TypeAlias = UserDeleted | UserInvalid | PackageWithdrawn | PackageInvalid | SettingsInvalid


class Known(Struct, frozen=True):
    """What the bus knows about one subject."""

    said: Said | None = None
    """The newest event."""
    added: bool = False
    """A tenant that was valid once, and was not deleted since."""


UNKNOWN = Known()


def learn(known: Known, said: Said) -> Known:
    match said:
        case UserAdded() | UserModified():
            return Known(said, added=True)
        case UserInvalid():
            return Known(said, added=known.added)
        case _:
            return Known(said)


def recall(
    newest: Iterable[Envelope], added: Iterable[Envelope], deleted: Iterable[Envelope]
) -> dict[Key, Known]:
    """Rebuild what is known from the bus: the newest events, the newest USER_ADDEDs and USER_DELETEDs."""
    deleted_at = {envelope.subject: envelope.seq for envelope in deleted}
    present = {envelope.subject for envelope in added if envelope.seq > deleted_at.get(envelope.subject, 0)}
    return {
        (said.family, said.subject): Known(
            said, added=isinstance(said, UserEvent) and said.subject in present
        )
        for said in (envelope.event for envelope in newest)
        if isinstance(said, Said)
    }


def believed(known: Iterable[Known]) -> list[Subject]:
    """Tell the tenants and releases that the bus believes to be there, valid or not."""
    subjects: list[Subject] = []
    for said in (each.said for each in known):
        match said:
            case UserAdded() | UserModified() | UserInvalid():
                subjects.append(Tenant(said.tenant))
            case PackageReleased():
                subjects.append(Release(said.app, said.version))
            case PackageInvalid():
                subjects.append(Release(*said.release.rsplit("-", 1)))
            case _:
                pass
    return subjects


def decide(subject: Subject, known: Known, seen: Sight) -> Said | None:
    """Tell what is to be said, None when the bus knows already."""
    match subject:
        case Tenant():
            said: Said | None = _tenant(subject, known, seen)
        case Release():
            said = _release(subject, known, seen)
        case SettingsFile():
            said = _settings(subject, seen)
        case _:
            assert_never(subject)
    return None if said is None or _same(said, known.said) else said


def _tenant(tenant: Tenant, known: Known, seen: Sight) -> TenantSaid | None:
    name = tenant.name
    match seen:
        case ValidTenant(path=path, settings=settings, stamp=stamp, secrets=secrets):
            say = UserModified if known.added else UserAdded
            return say(tenant=name, path=path, settings=settings, stamp=stamp, secrets=secrets)
        case Invalid(file=file, key=key, line=line, reason=reason, stamp=stamp):
            return UserInvalid(tenant=name, file=file, key=key, line=line, reason=reason, stamp=stamp)
        case _:
            return UserDeleted(tenant=name) if known.said else None


def _release(release: Release, known: Known, seen: Sight) -> ReleaseSaid | None:
    name = release.name
    match seen:
        case ValidRelease(path=path, settings=settings, stamp=stamp):
            return PackageReleased(
                release=name,
                app=release.app,
                version=release.version,
                path=path,
                settings=settings,
                stamp=stamp,
            )
        case Invalid(file=file, key=key, line=line, reason=reason, stamp=stamp):
            return PackageInvalid(release=name, file=file, key=key, line=line, reason=reason, stamp=stamp)
        case _:
            return PackageWithdrawn(release=name) if known.said else None


def _settings(settings: SettingsFile, seen: Sight) -> SettingsSaid | None:
    match seen:
        case ValidSettings(stamp=stamp):
            return SettingsChanged(file=settings.name, stamp=stamp)
        case Invalid(key=key, line=line, reason=reason, stamp=stamp):
            return SettingsInvalid(file=settings.name, key=key, line=line, reason=reason, stamp=stamp)
        case _:
            return None


def _same(new: AnyEvent, old: AnyEvent | None) -> bool:
    """Tell whether two events say the same, whether a tenant was added with it or modified to it."""
    if isinstance(new, UserModified) and isinstance(old, UserAdded):
        new_facts = (new.path, new.settings, new.stamp, new.secrets)
        return new_facts == (old.path, old.settings, old.stamp, old.secrets)
    return new == old
