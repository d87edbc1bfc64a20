"""Keeps tenants from one another, and from what is ours: users, directories, cgroups."""

import logging
import os
from typing import NamedTuple

from bus import cgroups
from bus.settings import Settings
from services.reactor import environment, ownership
from services.reactor.actions import Spawn
from services.reactor.cgroups import Cgroups, Group
from services.reactor.users import User, Users

log = logging.getLogger(__name__)


class Rights(NamedTuple):
    """What a tenant's process may do."""

    user: User | None
    """None is whoever we are."""
    group: Group | None
    """What holds it to its limits, as far as cgroups do."""
    limits: list[tuple[int, int]]
    """The other limits, for setrlimit(2)."""


class Isolation:
    """Prepares what each tenant's process gets, and finds it again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.users = Users(settings)
        self.cgroups = Cgroups(settings.run_dir, cgroups.find())

    def begin(self) -> None:
        """Learn who has which number; say once what cannot be had."""
        self.users.read_claims()
        lacking = cgroups.lacking(self.cgroups.controllers)
        if lacking:
            log.info("%s", lacking)
        defaults = self._settings.tenants
        if os.geteuid() == 0 and not (defaults.user or defaults.uid_range):
            log.warning("tenants run as root: set tenants.uid_range")

    def settle(self, order: Spawn, name: str) -> Rights:
        """Settle what a process of this name may do; its directories are there. Raises UserError, OSError."""
        tenant = order.tenant
        user = self.users.of(tenant, order.settings.user)
        if user:
            ownership.settle(self._settings.tenants_dir / tenant, user)
        limits = order.settings.limits.above(self._settings.defaults_of(order.settings.plan).limits)
        group = self.cgroups.of(name, limits)
        held = set(self.cgroups.controllers)
        if group:
            group.create(limits, held)
        if not (user and user.alone):  # others' processes would count as its own
            held.add("pids")
        return Rights(user, group, environment.resource_limits(limits, held))
