"""What the reactor does with a tenant. All that affects its course lives here and in what is imported here.

`decide = settle . learn`. `learn` believes what it hears and never acts; `settle` compares what is wanted
(`wants`) with what is (`state`), and is the only source of actions (`steps`, `replace`). So an event that is
lost, repeated or overtaken costs time, and nothing else.
"""

from msgspec import structs

from bus.events import ProcReady
from services.reactor.actions import AnyAction, Input, OwnEvent, Publish, WakeAt
from services.reactor.failback import arrive, go_on
from services.reactor.learn import learn
from services.reactor.replace import deadline, step
from services.reactor.say import is_known, say, say_leaving
from services.reactor.state import Exited, Tenant
from services.reactor.steps import Decision
from services.reactor.wants import Shared


def decide(tenant: Tenant, shared: Shared, heard: Input, at: float) -> Decision:
    return settle(learn(tenant, heard, at), shared, at)


def settle(tenant: Tenant, shared: Shared, at: float) -> Decision:
    """Bring what is closer to what is wanted, step by step until nothing is left to do now."""
    actions: list[AnyAction] = []
    tenant = go_on(tenant, shared)
    while True:
        tenant = _announce(tenant, actions)
        before = tenant.state, tenant.leaving
        tenant, more = step(tenant, shared, at)
        actions += more
        if (tenant.state, tenant.leaving) == before:
            break
    tenant = _answer(arrive(tenant), actions)
    return Decision(_set_alarm(tenant, shared, actions), actions)


def _announce(tenant: Tenant, actions: list[AnyAction]) -> Tenant:
    """Tell others the state, unless they know it."""
    tenant = _announce_leaving(tenant, actions)
    event = say(tenant)
    if event is None or is_known(event, tenant.said):
        return tenant
    crashed = isinstance(tenant.state, Exited) and tenant.state.crashed
    actions.append(Publish(tenant=tenant.name, event=event, spontaneous=crashed))
    return structs.replace(tenant, said=event, owes_answer=False)


def _announce_leaving(tenant: Tenant, actions: list[AnyAction]) -> Tenant:
    event, leaving = say_leaving(tenant), tenant.leaving
    if leaving is None or event is None or (leaving.said and _same(event, leaving.said)):
        return tenant
    ended = leaving.state if isinstance(leaving.state, Exited) else None
    crashed = ended is not None and ended.crashed
    actions.append(Publish(tenant=tenant.name, event=event, spontaneous=crashed))
    said = event if event.serving else tenant.said
    if ended and not event.serving:  # nobody shall take its end for the tenant's state
        said = None
    return structs.replace(tenant, leaving=structs.replace(leaving, said=event), said=said)


def _same(event: OwnEvent, said: OwnEvent) -> bool:
    """Compare two events about one process, whoever else serves meanwhile."""
    return structs.replace(event, serving=0) == structs.replace(said, serving=0)


def _answer(tenant: Tenant, actions: list[AnyAction]) -> Tenant:
    """Tell somebody who asked for something that it is so already."""
    if not tenant.owes_answer:
        return tenant
    event = say(tenant)
    if isinstance(event, ProcReady):
        event = structs.replace(event, reason="already running")
    if event is not None:
        actions.append(Publish(tenant=tenant.name, event=event))
    return structs.replace(tenant, owes_answer=False)


def _set_alarm(tenant: Tenant, shared: Shared, actions: list[AnyAction]) -> Tenant:
    at = deadline(tenant, shared)
    if at is None or at == tenant.wake:
        return tenant
    actions.append(WakeAt(tenant=tenant.name, at=at))
    return structs.replace(tenant, wake=at)
