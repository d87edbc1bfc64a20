"""What is written down about real processes, however odd they are."""

import asyncio
import os
import socket
from contextlib import ExitStack
from pathlib import Path

from bus.events import ProcStuck
from bus.log_reader import Log
from services.dispatcher import kernel
from services.dispatcher.evidence import KEEP_EACH, LOOKED_AT, Evidence, Scene


def about_ourselves(directory: Path) -> str:
    """Give what is written down about this process."""
    seen = kernel.sample(os.getpid())
    assert seen
    stuck = ProcStuck(tenant="acme", pid=os.getpid(), started=seen.started)
    evidence = Evidence(directory / "evidence")
    return Path(asyncio.run(evidence.collect(stuck, Scene(seen, seen), Log(directory / "log")))).read_text()


def test_the_last_five_files_of_a_tenant_are_kept(short_dir: Path) -> None:
    kept: list[str] = []
    for _ in range(2 * KEEP_EACH):
        about_ourselves(short_dir)
        files = sorted(file.name for file in (short_dir / "evidence").iterdir())
        kept = [*kept, files[-1]][-KEEP_EACH:]
        assert files == kept


def test_the_name_of_a_socket_may_be_anything(short_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as strange:
        strange.bind(str(short_dir / "a\nb c"))
        assert "--- Connections" in about_ourselves(short_dir)


def test_of_very_many_descriptors_not_all_are_looked_at(short_dir: Path) -> None:
    with ExitStack() as opened:
        for _ in range(LOOKED_AT + 1):
            opened.enter_context(Path(os.devnull).open("rb"))
        text = about_ourselves(short_dir)
    assert f"in all, of which the first {LOOKED_AT} are:" in text
    assert "not looked at, among" in text
