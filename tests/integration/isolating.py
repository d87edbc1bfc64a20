"""What tests of isolation share: tenants with users of their own, and what they try to do to others."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import tornado

from bus import cgroups
from tests.integration.forking import Stage, release, stage
from tests.unable import unable

PRYING = release("prying", entry="prying_app:make_app")
UIDS = "uid_range = [200000, 299999]"


def need_root() -> None:
    if os.geteuid():
        unable("only root can start processes as other users")


def need_cgroup(controller: str) -> None:
    if controller not in cgroups.find():
        unable(cgroups.lacking(cgroups.find()))


def python() -> str:
    """An interpreter that every user may start, which need not be the one that runs the tests."""
    return shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or sys.executable


def own_interpreter(directory: Path) -> str:
    """Make an environment with tornado for that interpreter; gives its program."""
    venv = directory / "venv"
    subprocess.run([python(), "-m", "venv", "--without-pip", venv], check=True)
    packages = next(venv.glob("lib/python*/site-packages"))
    (packages / "ours.pth").write_text(f"{Path(tornado.__file__).parents[1]}\n")
    return str(venv / "bin/python")


def guarded(directory: Path, tenants: str = UIDS) -> AbstractAsyncContextManager[Stage]:
    """A stage that other users may come near, so that only what we guard is guarded."""
    directory.chmod(0o711)
    return stage(directory, tenants=tenants)


async def about(here: Stage, tenant: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(await here.get(tenant, "/self"))
    return told


async def tries(here: Stage, tenant: str, deeds: Sequence[tuple[str, object]]) -> dict[tuple[str, str], str]:
    """Let a tenant try (how, what); gives what came of each."""
    query = urlencode([pair for how, what in deeds for pair in (("how", how), ("what", str(what)))])
    answers = json.loads(await here.get(tenant, f"/try?{query}"))
    return {(how, str(what)): answer for (how, what), answer in zip(deeds, answers, strict=True)}


def is_in_memory(pid: int, text: bytes) -> bool:
    """Look through all memory of a process that it can write."""
    ranges = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw", Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for first, last in ranges:
            memory.seek(int(first, 16))
            try:
                if text in memory.read(int(last, 16) - int(first, 16)):
                    return True
            except OSError:  # a page of the kernel's
                continue
    return False
