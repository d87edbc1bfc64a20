"""Where cgroups may be made, from what the kernel tells."""

from pathlib import Path

import pytest

from bus import cgroups
from bus.cgroups import Mount

MOUNTINFO = """\
24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 24 0:26 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
31 24 0:27 /box /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""


def test_hierarchies_are_read_from_mountinfo() -> None:
    memory, cpu, unified = cgroups.mounts(MOUNTINFO)
    assert (memory.root, memory.place) == ("/", Path("/sys/fs/cgroup/memory"))
    assert "memory" in memory.controllers
    assert {"cpu", "cpuacct"} <= cpu.controllers
    assert unified == Mount("/", Path("/sys/fs/cgroup/unified"), frozenset())


@pytest.mark.parametrize(
    ("root", "path", "place"),
    [
        ("/", "/", "/c"),
        ("/", "/a/b", "/c/a/b"),
        ("/box", "/box", "/c"),
        ("/box", "/box/a", "/c/a"),
        ("/box", "/boxer", None),
        ("/box", "/", None),
    ],
)
def test_a_cgroup_has_a_place_below_what_is_mounted(root: str, path: str, place: str | None) -> None:
    found = Mount(root, Path("/c"), frozenset()).at(path)
    assert found == (Path(place) if place else None)


def test_what_is_lacking_is_said_with_what_happens_instead() -> None:
    assert cgroups.lacking(cgroups.CONTROLLERS) == ""
    said = cgroups.lacking(["pids"])
    assert said == (
        "no cgroup for memory, cpu is ours to use: `memory` limits the address space of each process;"
        " `cpu` limits nothing"
    )


def test_controllers_are_enabled_for_children_once(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert cgroups.enable(tmp_path, ["cpu", "pids", "io"]) == {"cpu", "pids"}
    assert (tmp_path / "cgroup.subtree_control").read_text() == "cpu memory pids\n"
    assert cgroups.enable(tmp_path / "none", ["cpu"]) == set()
