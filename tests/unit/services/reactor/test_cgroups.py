"""What is written into a tenant's cgroup, and read from it; of both versions, as files."""

from pathlib import Path

import pytest

from bus.model import Limits
from services.reactor.cgroups import Cgroups, Group

VERSION_2 = ("memory.max", "memory.swap.max", "cpu.max", "pids.max")
VERSION_1 = (
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "pids.max",
)
LIMITS = Limits(memory="64M", cpu=0.5, processes=9)


def written(place: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in place.iterdir() if file.stat().st_size}


@pytest.mark.parametrize(
    ("names", "limits", "expected"),
    [
        (VERSION_2, LIMITS, ["67108864", "0", "50000 100000", "9"]),
        (VERSION_1, LIMITS, ["67108864", "67108864", "100000", "50000", "9"]),
        (VERSION_2, Limits(cpu=0.001), ["", "", "1000 100000", ""]),
        (VERSION_2, Limits(memory="1G"), ["1073741824", "0", "", ""]),
        (("pids.max",), LIMITS, ["9"]),
    ],
)
def test_each_version_has_its_files(
    tmp_path: Path, names: tuple[str, ...], limits: Limits, expected: list[str]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    Group([tmp_path]).create(limits, ())
    assert written(tmp_path) == {name: text for name, text in zip(names, expected, strict=True) if text}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"memory.events": "low 0\noom 3\noom_kill 1\n", "memory.max": "67108864\n"}, "64M"),
        ({"memory.oom_control": "under_oom 0\noom_kill 2\n", "memory.limit_in_bytes": "2147483648"}, "2G"),
        ({"memory.events": "oom_kill 1\n", "memory.max": "1000001\n"}, "1000001"),
        ({"memory.events": "oom 1\noom_kill 0\n", "memory.max": "67108864\n"}, ""),
        ({}, ""),
    ],
)
def test_a_lack_of_memory_is_recognised(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert Group([tmp_path]).ran_out() == (f"out of memory (limit {said})" if said else "")


def test_only_who_has_limits_gets_a_cgroup(tmp_path: Path) -> None:
    both = Cgroups(Path("/run/x"), {"memory": tmp_path / "m", "pids": tmp_path / "p"})
    assert both.of("acme", Limits(cpu=1.0, open_files=20)) is None
    group = both.of("acme", LIMITS)
    assert group
    assert [place.relative_to(tmp_path).parts[0] for place in group.directories] == ["m", "p"]
    assert group.directories[0].parent.name.startswith("tenantbus-")
    one = Cgroups(Path("/run/x"), dict.fromkeys(("memory", "cpu", "pids"), tmp_path)).of("acme", LIMITS)
    assert one
    assert len(one.directories) == 1
