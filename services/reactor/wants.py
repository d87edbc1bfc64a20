"""What should run: which tenants are wanted, on which release and database, given what all tenants share."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias, assert_never

from msgspec import Struct, structs
from packaging.version import InvalidVersion, Version

from bus import words
from bus.events import (
    DbCaughtUp,
    DbDegraded,
    DbDown,
    DbDrainRequested,
    DbMisconfigured,
    DbUndrainRequested,
    DbUp,
    PackageReleased,
    PackageWithdrawn,
    ServiceUp,
)
from bus.model import Plan, TenantSettings
from bus.sections import RestartSettings, TenantDefaults
from services.reactor.actions import DbVerdict, SharedEvent
from services.reactor.placing import (
    LOST,
    Databases,
    Full,
    Load,
    Wanted,
    against,
    compare,
    drain,
    judge,
    place,
)
from services.reactor.state import (
    Gone,
    Idle,
    Replacing,
    Running,
    Sleeping,
    Stopped,
    Target,
    Tenant,
    Waiting,
    Wish,
)


class Release(Struct, frozen=True, kw_only=True):
    """What pathwatch said last about a release; None when it was withdrawn."""

    seq: int
    package: PackageReleased | None


class Shared(Databases, frozen=True, kw_only=True):
    """What all tenants have in common; replaced as a whole, never changed."""

    defaults: TenantDefaults = TenantDefaults()
    plans: Mapping[Plan, TenantDefaults] = {}
    """The defaults of each plan's tenants, where they are others."""
    restart: RestartSettings = RestartSettings()
    releases: Mapping[str, Release] = {}
    newest: Mapping[str, str] = {}
    """Of each application, the release that tenants get that do not pin one."""
    surveyed: bool = True
    """False until pathwatch has told, in this journal, of all tenants that there are: then silence tells."""
    patient: bool = False
    """True in the first seconds, while the others may not have said everything yet."""
    ending: bool = False
    """True when the whole product is being stopped."""

    def defaults_of(self, settings: TenantSettings) -> TenantDefaults:
        """Tell the defaults of a tenant with these settings."""
        return self.plans.get(settings.plan, self.defaults)


class Unwanted(Struct, frozen=True, kw_only=True):
    """The tenant should not run."""

    by: str = ""
    reason: str = ""
    gone: bool = False
    """True when there is no such tenant."""


class Lacking(Struct, frozen=True, kw_only=True):
    """The tenant should run, and cannot."""

    reason: str
    quiet: bool
    """True while that may be only because nobody has told us yet."""
    kept: bool = False
    """True when what runs already serves as well as ever, and may go on."""


class Unused(Struct, frozen=True, kw_only=True):
    """The tenant should run when somebody comes."""

    release: str


Aim: TypeAlias = Target | Unwanted | Lacking | Unused


def share(shared: Shared, seq: int, event: SharedEvent) -> Shared:
    """Believe something that concerns all tenants; what newer news has overtaken changes nothing."""
    match event:
        case DbUp() | DbDegraded() | DbDown() | DbMisconfigured():
            return _judge(shared, seq, event)
        case DbCaughtUp():
            return structs.replace(shared, syncs=compare(shared.syncs, seq, event))
        case DbDrainRequested() | DbUndrainRequested():
            return structs.replace(shared, drains=drain(shared.drains, seq, event))
        case PackageReleased() | PackageWithdrawn():
            known = shared.releases.get(event.release)
            if known and known.seq >= seq:
                return shared
            package = event if isinstance(event, PackageReleased) else None
            releases = {**shared.releases, event.release: Release(seq=seq, package=package)}
            return structs.replace(shared, releases=releases, newest=_newest(releases))
        case ServiceUp():  # pathwatch says it after all that it has found
            if shared.surveyed or event.service != "pathwatch":
                return shared
            return structs.replace(shared, surveyed=True)
        case _:
            assert_never(event)


def _judge(shared: Shared, seq: int, event: DbVerdict) -> Shared:
    known = shared.databases.get(event.database)
    if known is None or known.seq >= seq:  # not ours (any more), or old
        return shared
    verdict = judge(known, seq, event, shared.loads.get(event.database, Load()))
    return structs.replace(shared, databases={**shared.databases, event.database: verdict})


def _newest(releases: Mapping[str, Release]) -> dict[str, str]:
    newest: dict[str, PackageReleased] = {}
    for release in releases.values():
        package = release.package
        if package and (
            package.app not in newest or _order(package.version) > _order(newest[package.app].version)
        ):
            newest[package.app] = package
    return {app: package.release for app, package in newest.items()}


def _order(version: str) -> tuple[bool, Version, str]:
    """Sort by PEP 440; a version that is none comes before all that are."""
    try:
        return True, Version(version), version
    except InvalidVersion:
        return False, Version("0"), version


def aim(tenant: Tenant, shared: Shared, held: Target | None = None) -> Aim:
    """Tell what should run. `held` is what runs already: it is kept as long as nothing speaks against it."""
    unwanted = _unwanted(tenant, shared, held)
    if unwanted:
        return unwanted
    if not tenant.wish.present:  # its good settings went with the journal
        return held or Lacking(reason="nothing is known of its settings yet", quiet=True)
    release = _release(tenant.wish.settings, shared, held)
    if isinstance(release, Lacking):
        return release
    name, build, alone = release
    if not tenant.awake and _on_demand(tenant.wish.settings, shared, name):
        return Unused(release=name)
    database = _database(tenant, shared, held)
    if isinstance(database, Lacking):
        return database
    # after our own restart we may not know of a request that the process has followed already
    asked = max(tenant.order.asked, held.asked) if held else tenant.order.asked
    stamp = tenant.wish.stamp
    return Target(release=name, database=database, stamp=stamp, asked=asked, build=build, alone=alone)


def _unwanted(tenant: Tenant, shared: Shared, held: Target | None) -> Unwanted | None:
    settings, order = tenant.wish.settings, tenant.order
    gone = _gone(tenant.wish, shared, runs=held is not None)
    if gone:
        return Unwanted(reason=gone, gone=True)
    if order.stop:
        return Unwanted(by=order.by, reason=f"stop requested by {order.words}")
    if shared.ending:
        return Unwanted(reason=words.ALL_STOP)
    by_hand = shared.defaults_of(settings).start_of(settings) == "manual"
    if tenant.wish.present and by_hand and order.request is None:
        return Unwanted(reason='start = "manual"')
    return None


def _on_demand(settings: TenantSettings, shared: Shared, name: str) -> bool:
    """Tell whether a tenant runs while it is used only: a program that binds its port itself cannot."""
    release = shared.releases.get(name)
    if release and release.package and release.package.settings.binds_port:
        return False
    return shared.defaults_of(settings).start_of(settings) == "on-demand"


def _gone(wish: Wish, shared: Shared, *, runs: bool) -> str:
    """Tell why there is no such tenant; "" when there is one, or may be."""
    if wish.present:
        return ""
    if wish.wrong:  # what runs and was never deleted had good ones, which went with the journal
        return "" if runs and not wish.seq else f"no valid settings: {wish.wrong}"
    if wish.seq:
        return words.DELETED
    return "no such tenant" if shared.surveyed else ""


def _release(
    settings: TenantSettings, shared: Shared, held: Target | None
) -> tuple[str, str, bool] | Lacking:
    """Choose a release; gives its name, its stamp, and whether its processes must be alone."""
    if held and _fits(held.release, settings, shared):
        return held.release, held.build, held.alone
    name = f"{settings.app}-{settings.pinned}" if settings.pinned else shared.newest.get(settings.app, "")
    release = shared.releases.get(name)
    if release is None or release.package is None:
        reason = f"no valid release of {settings.package} in packages"
        return Lacking(reason=reason, quiet=shared.patient, kept=True)
    return name, release.package.stamp, release.package.settings.alone


def _fits(name: str, settings: TenantSettings, shared: Shared) -> bool:
    if settings.pinned:
        return name == f"{settings.app}-{settings.pinned}"
    release = shared.releases.get(name)
    if release and release.package:
        return release.package.app == settings.app
    return name.startswith(f"{settings.app}-")  # withdrawn: the name is all that is left of it


def _database(tenant: Tenant, shared: Shared, held: Target | None) -> str | Lacking:
    """Choose a database: the one it has, or had, as long as that is good enough."""
    settings = tenant.wish.settings
    if settings.databases is None and not shared.databases:
        return ""
    allowed = [name for name in settings.databases or shared.databases if name in shared.databases]
    unheard = [name for name in allowed if shared.databases[name].status == "unknown" and shared.patient]
    back = tenant.back.target if tenant.back else ""
    held_database = held.database if held else ""
    chosen = place(shared, Wanted(tenant.name, allowed, held_database, tenant.database, back))
    match chosen:
        case str() if unheard and not tenant.database:  # or all would go to the one that is heard of first
            return Lacking(reason=against(shared, unheard[0]), quiet=True)
        case str():
            return chosen
        case Full():
            names = " and ".join(chosen.names)
            return Lacking(reason=f"no connections left in database {names}", quiet=False, kept=True)
        case None:
            return Lacking(reason=_lack(settings, shared), quiet=bool(unheard))
        case _:
            assert_never(chosen)


def _lack(settings: TenantSettings, shared: Shared) -> str:
    names = settings.databases or shared.databases
    return "; ".join(against(shared, name) for name in names)


def is_down(shared: Shared, database: str) -> bool:
    """Tell whether failures may be the database's fault."""
    verdict = shared.databases.get(database)
    return verdict is not None and verdict.status in LOST


# ---------------------------------------------------------------- who uses what


def count(shared: Shared, tenants: Iterable[Tenant]) -> Shared:
    """Count how many tenants each database has; none of them came since dbwatch read what it has left."""
    loads: dict[str, Load] = {}
    for tenant in tenants:
        _add(loads, tenant, 1)
    databases = {
        name: structs.replace(verdict, there=loads.get(name, Load()).there)
        for name, verdict in shared.databases.items()
    }
    return structs.replace(shared, loads=loads, databases=databases)


def recount(shared: Shared, before: Tenant, after: Tenant) -> Shared:
    """Count one tenant where it is now instead of where it was."""
    if _place_of(before) == _place_of(after):
        return shared
    loads = dict(shared.loads)
    _add(loads, before, -1)
    _add(loads, after, 1)
    return structs.replace(shared, loads=loads)


def _add(loads: dict[str, Load], tenant: Tenant, number: int) -> None:
    database, there = _place_of(tenant)
    if database:
        known = loads.get(database, Load())
        loads[database] = Load(known.there + number * there, known.coming + number * (not there))


def _place_of(tenant: Tenant) -> tuple[str, bool]:
    """Tell which database a tenant uses, or will in a moment, and whether it does already; "" for none."""
    state = tenant.state.old if isinstance(tenant.state, Replacing) else tenant.state
    if isinstance(state, Idle | Stopped | Gone | Waiting | Sleeping):
        return "", False
    there = isinstance(state, Running) and state.run.target.database == tenant.database
    return tenant.database, there
