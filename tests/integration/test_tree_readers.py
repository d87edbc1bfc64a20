"""Who reads a tenant's score page is not the tenant's: ending the tenant must leave the dispatcher alone."""

import mmap
import os
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
