"""Which cgroups(7) we may divide among tenants; nothing here makes one."""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bus.model import Limits

LIMITS = {"memory": "memory", "cpu": "cpu", "pids": "processes"}
"""The key of [limits] that each controller holds a tenant to."""

CONTROLLERS = (*LIMITS,)

INSTEAD = {
    "memory": "`memory` limits the address space of each process",
    "cpu": "`cpu` limits nothing",
    "pids": "`processes` limits tenants that have a user of their own",
}

DELEGATED = ("trusted.delegate", "user.delegate")
"""How systemd marks a cgroup that it leaves to us."""


class Mount(NamedTuple):
    """A hierarchy of cgroups, a line of proc_pid_mountinfo(5)."""

    root: str
    place: Path
    controllers: frozenset[str]
    """Those of version 1; version 2 has them in a file."""

    def at(self, path: str) -> Path | None:
        """Tell where the cgroup of this path is, if it can be seen from here."""
        root = self.root.rstrip("/")
        return self.place / path[len(root) + 1 :] if f"{path}/".startswith(f"{root}/") else None


def find() -> dict[str, Path]:
    """Tell where cgroups can be made, by controller.

    Those of version 1 below our own, those of version 2 below one that was delegated to us.
    """
    bases: dict[str, Path] = {}
    for controllers, own in owned(Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()):
        if controllers:
            usable = controllers & {*CONTROLLERS} if os.access(own, os.W_OK) else frozenset()
            bases |= dict.fromkeys(usable, own)
            continue
        for base in filter(_is_delegated, (own, own.parent)):
            bases = dict.fromkeys(enable(base, CONTROLLERS), base) | bases
    return bases


def wanted(limits: Limits) -> set[str]:
    """Tell which controllers it takes to hold a tenant to its limits."""
    return {name for name, key in LIMITS.items() if getattr(limits, key)}


def lacking(found: Collection[str]) -> str:
    """Say what limits cannot be had with these controllers alone, "" when all can."""
    missing = [name for name in CONTROLLERS if name not in found]
    instead = "; ".join(INSTEAD[name] for name in missing)
    return f"no cgroup for {', '.join(missing)} is ours to use: {instead}" if missing else ""


def mounts(text: str) -> list[Mount]:
    """Read mountinfo: the hierarchies of cgroups."""
    found = []
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            root, place = fields.split()[3:5]
            names = frozenset(options.split(",")) if kind == "cgroup" else frozenset()
            found.append(Mount(root, Path(place), names))
    return found


def owned(lines: Iterable[str]) -> Iterator[tuple[frozenset[str], Path]]:
    """Tell the cgroups of proc_pid_cgroup(5)'s lines: of version 1 with controllers, of version 2 without."""
    hierarchies = _own_mounts()
    for line in lines:
        _, names, path = line.split(":", 2)
        controllers = frozenset(filter(None, names.split(",")))
        for mount in hierarchies:
            if controllers <= mount.controllers and bool(controllers) == bool(mount.controllers):
                place = mount.at(path)
                if place:
                    yield controllers, place
                break


@cache
def _own_mounts() -> list[Mount]:
    return mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"))


def _is_delegated(base: Path) -> bool:
    """Tell whether a cgroup of version 2 is ours to divide: systemd says so, or it is all that we can see."""
    if not (base / "cgroup.events").exists():  # the root of them all, or none
        return False
    outermost = not (base.parent / "cgroup.events").exists()
    return outermost or any(name in DELEGATED for name in os.listxattr(base))


def enable(parent: Path, controllers: Collection[str]) -> set[str]:
    """Let a cgroup's children have controllers; gives those that they have."""
    switch = parent / "cgroup.subtree_control"
    if not switch.exists():  # version 1
        return set()
    for name in set(controllers) & _words(parent / "cgroup.controllers") - _words(switch):
        with suppress(OSError):  # somebody is in it himself
            switch.write_text(f"+{name}", encoding="ascii")
    return _words(switch) & {*controllers}


def _words(file: Path) -> set[str]:
    try:
        return set(file.read_text(encoding="ascii").split())
    except OSError:
        return set()
