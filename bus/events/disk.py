"""What is on the disk: tenants, releases of applications, our own settings."""

from typing import ClassVar, TypeAlias

from bus import words
from bus.events.base import Event
from bus.model import PackageSettings, TenantSettings

# ---------------------------------------------------------------- tenants, as their directory has them


class UserEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "USER"
    speaker: ClassVar[str] = "pathwatch"
    subject_field: ClassVar[str] = "tenant"

    tenant: words.TenantName


class UserPresent(UserEvent, frozen=True, kw_only=True):
    path: words.Directory
    settings: TenantSettings
    stamp: words.Stamp
    """Changes whenever tenant.toml or secrets.env changes; tells nothing about their content."""
    secrets: str = ""
    """Changes whenever secrets.env alone changes; "" when that cannot be told apart from `stamp`."""


class UserAdded(UserPresent, frozen=True, kw_only=True):
    """A tenant's directory holds a valid tenant.toml for the first time, or again after it was deleted."""


class UserModified(UserPresent, frozen=True, kw_only=True):
    """A known tenant's settings or secrets changed, or became valid again."""


class UserDeleted(UserEvent, frozen=True, kw_only=True):
    """A tenant's directory, or its tenant.toml, is gone."""


class UserInvalid(UserEvent, frozen=True, kw_only=True):
    """A tenant's directory cannot be used as it is; a running tenant keeps its last good settings."""

    file: words.File
    key: words.Key
    line: words.Line
    reason: words.Reason
    stamp: words.Stamp


# ---------------------------------------------------------------- releases of applications


class PackageEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "PACKAGE"
    speaker: ClassVar[str] = "pathwatch"
    subject_field: ClassVar[str] = "release"

    release: words.ReleaseName


class PackageReleased(PackageEvent, frozen=True, kw_only=True):
    """A release directory holds a valid package.toml, new or changed."""

    app: words.AppName
    version: words.Version
    path: words.Directory
    settings: PackageSettings
    stamp: words.Stamp


class PackageWithdrawn(PackageEvent, frozen=True, kw_only=True):
    """A release directory, or its package.toml, is gone; what runs from it runs on."""


class PackageInvalid(PackageEvent, frozen=True, kw_only=True):
    """A release directory cannot be used as it is."""

    file: words.File
    key: words.Key
    line: words.Line
    reason: words.Reason
    stamp: words.Stamp


# ---------------------------------------------------------------- our own settings


class SettingsEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "SETTINGS"
    speaker: ClassVar[str] = "pathwatch"
    subject_field: ClassVar[str] = "file"

    file: words.File


class SettingsChanged(SettingsEvent, frozen=True, kw_only=True):
    """tenantbus.toml changed and is valid; services read it when they are next started."""

    stamp: words.Stamp


class SettingsInvalid(SettingsEvent, frozen=True, kw_only=True):
    """tenantbus.toml changed and is not valid; everything goes on with the last good settings."""

    key: words.Key
    line: words.Line
    reason: words.Reason
    stamp: words.Stamp


OnDisk: TypeAlias = (
    UserAdded
    | UserModified
    | UserDeleted
    | UserInvalid
    | PackageReleased
    | PackageWithdrawn
    | PackageInvalid
    | SettingsChanged
    | SettingsInvalid
)
