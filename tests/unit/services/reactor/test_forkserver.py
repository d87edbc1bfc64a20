"""Small things that a fork server does."""

from pathlib import Path

import pytest

from services.reactor.tenantbus_fork import server


def test_a_full_disk_costs_no_descriptor(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "process.json.new").symlink_to("/dev/full")
    before = set(Path("/proc/self/fd").iterdir())
    server._write_file(str(tmp_path / "process.json"), "{}")
    assert set(Path("/proc/self/fd").iterdir()) == before
    assert "No space left on device" in capfd.readouterr().err
    assert not (tmp_path / "process.json").exists()
