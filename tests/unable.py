"""What this machine cannot do is skipped for a developer, and fails in CI."""

import os
from typing import NoReturn

import pytest


def unable(reason: str) -> NoReturn:
    """What CI cannot test must not look tested."""
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)
