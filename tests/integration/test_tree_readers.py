"""Who reads a tenant's score page is not the tenant's: ending the tenant must leave the dispatcher alone."""

import mmap
import os
import subprocess
from pathlib import Path

from services.dispatcher.sense import Pages
from services.reactor.tree import Marks
from tests.integration.pages import ScorePage


def test_a_reader_of_the_score_page_is_a_stranger(tmp_path: Path) -> None:
    page = ScorePage(tmp_path / "acme", pid=1)
    marks = Marks(tenant="acme", run=tmp_path, page=page.file, pid=1)
    assert marks.are_on(os.getpid())  # as the writer
    page.close()
    pages = Pages(tmp_path)
    pages.scan()
    assert len(pages) == 1
    assert not marks.are_on(os.getpid())
    pages.close()


def test_a_copy_of_the_page_for_writing_is_kin(tmp_path: Path) -> None:
    page = ScorePage(tmp_path / "acme", pid=1)
    page.close()
    with page.file.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
        page.file.unlink()
        assert Marks(tenant="acme", run=tmp_path, page=page.file, pid=1).are_on(os.getpid())


def test_who_execs_at_the_moment_is_kin(tmp_path: Path) -> None:
    """In the middle of an exec a process has no environment, and its page is gone already."""
    page = tmp_path / ".acme~1"
    marks = Marks(tenant="acme", run=tmp_path, page=page, pid=1)
    env = {"TENANT": "acme", "TENANT_PID": "1", "NOTIFY_SOCKET": f"@{tmp_path}/fork/1"}
    script = tmp_path / "again"
    script.write_text('#!/bin/sh\nexec "$0"\n')
    script.chmod(0o700)
    with subprocess.Popen([script], env=env) as restless:
        try:
            assert all(marks.are_on(restless.pid) for _ in range(3_000))
        finally:
            restless.kill()
