"""Where subjects live: how many levels below which directory, and in which files."""

from pathlib import Path
from typing import NamedTuple

from bus.files import PACKAGE_FILE, SECRETS_FILE, TENANT_FILE
from bus.settings import Settings
from services.pathwatch.decide import Release, SettingsFile, Subject, Tenant


class Root(NamedTuple):
    """A directory of the settings: subjects are so many levels below it, and live in certain files."""

    key: str
    """The setting that names it."""
    path: Path
    depth: int
    files: tuple[str, ...]


class Spot(NamedTuple):
    """A directory at or below a root."""

    root: Root
    parts: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return self.root.path.joinpath(*self.parts)

    @property
    def complete(self) -> bool:
        """It is a subject's own directory."""
        return len(self.parts) == self.root.depth

    @property
    def subject(self) -> Subject:
        match self.root.depth:
            case 0:
                return SettingsFile(str(self.root.path / self.root.files[0]))
            case 1:
                return Tenant(*self.parts)
            case _:
                return Release(*self.parts)


def roots(settings: Settings) -> tuple[Root, Root, Root]:
    file = Path(settings.file)
    return (
        Root("the directory of the settings file", file.parent, 0, (file.name,)),
        Root("paths.packages", settings.packages_dir, 2, (PACKAGE_FILE,)),
        Root("paths.tenants", settings.tenants_dir, 1, (TENANT_FILE, SECRETS_FILE)),
    )
