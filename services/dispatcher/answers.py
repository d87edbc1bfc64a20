"""What a tenant's answer to an HTTP check proves: that it works, and that it is the one that was asked; pure.

Two ways to say who one is are understood: the JSON object of our own runtime, and the line
`database|port|pid|name` of the daemon that came before tenantbus (`/runinfo`).
"""

import re
from collections.abc import Collection, Mapping

import msgspec
from msgspec import Struct

from services.dispatcher.kinds import Kind

IDENTITY = "/-/identity"
"""Answered by the runtime of an `entry`, before the application sees it; nginx hides what is below /-/."""

_RUNINFO = re.compile(rb"([^|\s]*)\|(\d*)\|(\d+)\|([^|\s]+)\s*")


class Complaint(Struct, frozen=True, kw_only=True):
    """What is wrong with an answer, or with the lack of one."""

    kind: Kind
    words: str


class Identity(Struct, frozen=True, kw_only=True):
    """Who answers, as he says himself."""

    tenant: str
    pid: int
    release: str = ""
    """"" when he does not say."""
    database: str = ""
    port: int = 0


class Run(Struct, frozen=True, kw_only=True):
    """What one process of a tenant is known to be; "" and 0 where that is not known."""

    release: str = ""
    databases: Collection[str] = ()
    """Whatever its database may be called: its name in the settings, its host, its schema."""
    port: int = 0


def identity_in(body: bytes) -> Identity | None:
    """Find out who says that he answers; None when he says nothing about it."""
    runinfo = _RUNINFO.fullmatch(body)
    if runinfo:
        database, port, pid, name = runinfo.groups()
        return Identity(
            tenant=name.decode(errors="replace"),
            pid=int(pid),
            database=database.decode(errors="replace"),
            port=int(port or 0),
        )
    try:
        return msgspec.json.decode(body, type=Identity)
    except (msgspec.MsgspecError, RecursionError):  # thousands of brackets
        return None


def mistake(said: Identity, tenant: str, runs: Mapping[int, Run], leader: int) -> str:
    """Tell what is wrong with an identity; "" when it is that of one of the tenant's own processes.

    `runs` are those by pid; `leader` is the pid of the session that `said.pid` belongs to, which is the
    tenant's process where what answers was started by that.
    """
    if said.tenant != tenant:
        return f"answers as tenant {said.tenant}"
    run = runs.get(said.pid) or runs.get(leader)
    if run is None:
        return f"answers as pid {said.pid}, which is none of its processes"
    if said.release and run.release and said.release != run.release:
        return f"answers as {said.release}, and runs {run.release}"
    if said.database and run.databases and said.database not in run.databases:
        return f"answers for database {said.database}, and was given {min(run.databases, key=len)}"
    if said.port and run.port and said.port != run.port:
        return f"answers for port {said.port}, and was given {run.port}"
    return ""


def failing(status: int) -> Complaint | None:
    """Tell what is wrong with the status of a health check; None when it proves that the tenant works.

    A 404 does: somebody looked for that path, and this application has none.
    """
    server_error = 500
    return Complaint(kind=Kind.FAILING, words=f"answered {status}") if status >= server_error else None
