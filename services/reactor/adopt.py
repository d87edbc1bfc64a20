"""What a restarted reactor makes of the processes that it finds, and what it has written on them for that."""

from msgspec import structs

from bus.events import ProcReady, ProcStarted, ProcStopping
from services.reactor.actions import Found, Process
from services.reactor.state import Idle, Leaving, Replacing, Run, Running, Starting, Target, Tenant

ALONE = "@alone"
FOUND = "found beside another process"
FOUND_STOPPING = "found when it had been told to stop"


def label(target: Target) -> str:
    """Write down what a process runs on, for `Found.stamp` to bring back."""
    return f"{target.stamp}@{target.asked}{ALONE if target.alone else ''}"


def in_journal(found: Found, head: int) -> Found:
    """Forget which request a process followed, if a journal of `head` events cannot have had it."""
    stamp, asked = found.stamp.removesuffix(ALONE).rpartition("@")[::2]
    if not asked.isdigit() or int(asked) <= head:
        return found
    alone = ALONE if found.stamp.endswith(ALONE) else ""
    return structs.replace(found, stamp=f"{stamp}@0{alone}")


def adopt(tenant: Tenant, found: Found, at: float) -> Tenant:
    """Take over a process: the tenant's, the one that is to replace it, or the one that it has replaced."""
    state, leaving = tenant.state, tenant.leaving
    if tenant.said is not None and not isinstance(state, Idle):
        return tenant  # it is known already
    one = _process(found, at)
    if found.stopping and leaving is None:
        leaving = Leaving(state=one, reason=FOUND_STOPPING)
    elif isinstance(state, Idle):
        state = one
    elif leaving is None and isinstance(state, Starting | Running):
        state, leaving = _pair(state, one)
    else:
        return tenant
    database = (found.stopping and tenant.database) or found.database
    # each adoption is told, as if nothing had been said before
    awake = tenant.awake or not found.stopping
    return structs.replace(tenant, state=state, leaving=leaving, awake=awake, database=database, said=None)


def _process(found: Found, at: float) -> Starting | Running:
    stamp, *rest = found.stamp.removesuffix(ALONE).split("@")
    target = Target(
        release=found.release,
        database=found.database,
        stamp=stamp,
        asked=int(rest[0]) if rest and rest[0].isdigit() else 0,
        alone=found.stamp.endswith(ALONE),
    )
    run = Run(process=found.process, target=target, port=found.port, switches=found.switches)
    return Running(run=run, since=at, adopted=True) if found.ready else Starting(run=run, since=at)


def _pair(
    one: Starting | Running, other: Starting | Running
) -> tuple[Starting | Running | Replacing, Leaving | None]:
    """Tell which of two came to replace the other: the younger one, which must be ready for that."""
    old, new = sorted((one, other), key=lambda each: (each.run.process.started, each.run.process.pid))
    if isinstance(old, Running) and isinstance(new, Starting):
        return Replacing(old=old, new=new, reason=FOUND), None
    return new, Leaving(state=old, reason=FOUND)


def missed(tenant: Tenant) -> Process | None:
    """Tell which process ran when we last said something, if none was found; its start may be unknown (0)."""
    said = tenant.said
    if said is None or tenant.leaving or not isinstance(tenant.state, Idle):
        return None
    if said.serving:
        return Process(pid=said.serving, started=0, boot="")
    match said:
        case ProcStarted() | ProcReady():
            return Process(pid=said.pid, started=said.started, boot="")
        case ProcStopping():
            return Process(pid=said.pid, started=0, boot="")
        case _:
            return None
