import pytest

from bus.events import UserAdded, UserModified
from bus.model import Limits, Plan, TenantSettings
from bus.sections import Plans, PlanSettings, TenantDefaults
from bus.settings import Settings
from services.dispatcher.roster import Roster

SETTINGS = Settings(
    tenants=TenantDefaults(limits=Limits(memory_soft="300M")),
    plans=Plans(free=PlanSettings(limits=Limits(memory_soft="100M"))),
)


def added(plan: Plan, memory_soft: str | None = None) -> UserAdded:
    limits = Limits(memory_soft=memory_soft)
    settings = TenantSettings(package="shop", plan=plan, limits=limits)
    return UserAdded(tenant="acme", path="/t/acme", settings=settings, stamp="1")


@pytest.mark.parametrize(
    ("event", "mib"), [(added("paid"), 300), (added("free"), 100), (added("free", "50M"), 50)]
)
def test_a_soft_limit_is_the_tenants_own_or_its_plans_or_everybodys(event: UserAdded, mib: int) -> None:
    roster = Roster(SETTINGS)
    roster.learn(event)
    assert roster.soft_limit("acme") == mib << 20
    roster.learn(UserModified(tenant="acme", path="/t/acme", settings=added("paid").settings, stamp="2"))
    assert roster.soft_limit("acme") == 300 << 20
