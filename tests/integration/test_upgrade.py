"""Our own files are replaced while everything runs: tenants start without them."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from bus.events import PackageReleased
from services.reactor import link
from services.reactor.actions import Ended
from tests.integration.forking import KILLED, PLAIN, died, release, run, stage

THREADED = release("threaded", entry="threaded_app:make_app")


@pytest.mark.parametrize("package", [PLAIN, THREADED], ids=["forked", "by an interpreter of its own"])
def test_a_tenant_starts_again_while_our_files_are_away(
    package: PackageReleased, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = short_dir / "installed"
    parts = link.PROGRAM.with_name("tenantbus_fork")
    shutil.copytree(parts, installed / parts.name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(link, "PROGRAM", Path(shutil.copy(link.PROGRAM, installed)))

    async def test() -> None:
        async with stage(short_dir) as here:
            before = await here.start("acme", package)
            shutil.rmtree(installed)
            os.kill(before.process.pid, signal.SIGKILL)
            assert died(await here.told(Ended, "acme")) == KILLED
            after = await here.start("acme", package)
            assert (await here.get("acme")).split()[0] == str(after.process.pid) != str(before.process.pid)

    run(test())
