"""Servers that several tests share."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import settings as settings_file
from bus.settings import Settings
from examples.mariadb import MariaDb
from tests.harness import eventually, free_port, short_directory

Servers = tuple[MariaDb, MariaDb]

PASSWORD = "s3cret"


@pytest.fixture(scope="session")
def created_servers() -> Iterator[Servers]:
    if not MariaDb.available() and "CI" not in os.environ:
        pytest.skip("no mariadbd on this machine")
    with short_directory() as directory:
        directory.chmod(0o711)  # for the servers' own user
        one, two = (MariaDb(directory / f"db{number}", free_port(), number) for number in (1, 2))
        yield one, two
        one.stop()
        two.stop()


@pytest.fixture
def servers(created_servers: Servers) -> Servers:
    """Two MariaDB servers that run, each with an empty schema `shop` for the user `shop`."""
    for server in created_servers:
        if not server.running:
            server.create()
            server.launch()
    for server in created_servers:
        server.wait_ready()
        server.make_schema("shop", "shop", PASSWORD)
    return created_servers


@pytest.fixture
def config(short_dir: Path) -> Path:
    """Settings that are all defaults."""
    file = short_dir / "tenantbus.toml"
    file.write_text("")
    return file


@pytest.fixture
def settings(config: Path) -> Settings:
    return settings_file.load(config)


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """For tests that run dbwatch: it leaves no thread behind, and no password in the log."""
    caplog.set_level(logging.DEBUG)
    yield
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("watchdog-")])
    assert PASSWORD not in caplog.text
