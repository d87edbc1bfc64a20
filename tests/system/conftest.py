import os
import shutil
from collections.abc import Iterator

import pytest

from examples.front import Front
from tests.system import fronted
from tests.system.fronted import Site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    if not (Front.available() and shutil.which("wrk")) and "CI" not in os.environ:
        pytest.skip("no nginx or no wrk on this machine")
    with fronted.served() as site:
        yield site
