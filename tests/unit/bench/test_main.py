from importlib.util import find_spec

import pytest

from tests.bench.__main__ import BENCHES


@pytest.mark.parametrize("name", BENCHES)
def test_what_is_listed_is_there(name: str) -> None:
    assert find_spec(f"tests.bench.{name}")
