"""Limits that the kernel holds a whole tenant to, not each of its processes: cgroups(7), version 2 or 1."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path

from bus import cgroups as hierarchies
from bus.model import Limits, parse_size

PERIOD = 100_000
"""Microseconds within which a tenant may use its share of the cores (cpu.max, cpu.cfs_period_us)."""

LEAST = 1_000
"""Microseconds of a period below which the kernel takes no share."""


class Group:
    """The cgroup of one process and what it starts, in as many hierarchies as its controllers are in."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self.directories = tuple(directories)

    def create(self, limits: Limits, controllers: Collection[str]) -> None:
        """Make it anew, so that its counters begin at zero; raises OSError."""
        self.remove()
        for directory in self.directories:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            hierarchies.enable(directory.parent, controllers)
            for name, value in _settings(directory, limits):
                (directory / name).write_text(value, encoding="ascii")

    def pids(self) -> set[int]:
        """Tell who is in it: also what has left its session, lost its parents and forgotten who it was."""
        found: set[int] = set()
        for directory in self.directories:
            with suppress(OSError):
                found.update(map(int, (directory / "cgroup.procs").read_text(encoding="ascii").split()))
        return found

    def kill(self) -> None:
        """End everything that is in it in one step, where the kernel has one (Linux 5.14, version 2)."""
        for directory in self.directories:
            switch = directory / "cgroup.kill"
            if switch.exists():
                with suppress(OSError):  # gone meanwhile
                    switch.write_text("1", encoding="ascii")

    def ran_out(self) -> str:
        """Tell that the kernel has killed for lack of memory since `create`, and what the limit is."""
        for directory in self.directories:
            for events in ("memory.events", "memory.oom_control"):
                if _number(directory / events, "oom_kill"):
                    return f"out of memory (limit {_size(directory)})"
        return ""

    def remove(self) -> None:
        """Give it back to the kernel, which keeps one that somebody is in."""
        for directory in self.directories:
            with suppress(OSError):
                directory.rmdir()


class Cgroups:
    """Makes and finds cgroups of tenants below the one that we are in ourselves."""

    def __init__(self, run_dir: Path, bases: Mapping[str, Path]) -> None:
        digest = blake2s(os.fsencode(run_dir), digest_size=6).hexdigest()
        self._name = f"tenantbus-{digest}"
        self._bases = bases

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self._bases)

    def of(self, name: str, limits: Limits) -> Group | None:
        """Tell the cgroup that holds a process to its limits; None when there is nothing to hold it to."""
        places = {self._bases[each] for each in hierarchies.wanted(limits) if each in self._bases}
        return Group(sorted(place / self._name / name for place in places)) if places else None

    def holding(self, name: str, pid: int) -> Group | None:
        """Find the cgroup that a tenant's process is in, which need not be where we would make it now."""
        own = f"/{self._name}/{name}"
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, ProcessLookupError):  # what it was in may still tell why
            found = {Path(f"{base}{own}") for base in self._bases.values()}
        else:
            ours = [line for line in lines if line.endswith(own)]
            found = {place for _, place in hierarchies.owned(ours)} if ours else set()
        existing = sorted(place for place in found if place.is_dir())
        return Group(existing) if existing else None

    def clear(self, kept: Collection[str]) -> None:
        """Remove what we have made for other processes than these, but for what somebody is in."""
        for base in set(self._bases.values()):
            Group(place for place in (base / self._name).glob("*~*") if place.name not in kept).remove()

    def close(self) -> None:
        """Remove all that we have made, but for what somebody is in."""
        for base in set(self._bases.values()):
            ours = base / self._name
            Group([*(place for place in ours.glob("*") if place.is_dir()), ours]).remove()


def _settings(directory: Path, limits: Limits) -> Iterator[tuple[str, str]]:
    """Tell what to write where; each hierarchy has the files of its own controllers and version."""
    memory, quota = parse_size(limits.memory), max(LEAST, int((limits.cpu or 0) * PERIOD))
    wanted = {
        "memory": (("memory.max", f"{memory}"), ("memory.swap.max", "0")),
        "memory-1": (("memory.limit_in_bytes", f"{memory}"), ("memory.memsw.limit_in_bytes", f"{memory}")),
        "cpu": (("cpu.max", f"{quota} {PERIOD}"),),
        "cpu-1": (("cpu.cfs_period_us", f"{PERIOD}"), ("cpu.cfs_quota_us", f"{quota}")),
        "pids": (("pids.max", f"{limits.processes}"),),
    }
    asked = hierarchies.wanted(limits)
    for controller, files in wanted.items():
        if controller.removesuffix("-1") in asked:
            yield from ((name, value) for name, value in files if (directory / name).exists())


def _number(file: Path, name: str) -> int:
    """Read one of the "name number" lines of a file; 0 when there is none."""
    with suppress(OSError):
        for line in file.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0


def _size(directory: Path) -> str:
    """Tell a memory limit as people write it."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            size = int((directory / name).read_text(encoding="ascii"))
            for shift, unit in ((30, "G"), (20, "M"), (10, "K")):
                if size and size % (1 << shift) == 0:
                    return f"{size >> shift}{unit}"
            return str(size)
    return "unknown"
