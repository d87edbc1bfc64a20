"""Fixtures that every tier may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import short_directory


@pytest.fixture
def short_dir() -> Iterator[Path]:
    with short_directory() as path:
        yield path
