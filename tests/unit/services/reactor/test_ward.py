"""What a fork server writes down about a tenant."""

import errno
import os
from pathlib import Path

import pytest

from services.reactor.tenantbus_fork.ward import Ward


def test_a_full_disk_costs_no_descriptor(tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.with_name("process.json.new").symlink_to("/dev/full")
    facts = dict.fromkeys(("tenant", "release", "database", "stamp", "key"), "")
    ward = Ward({**facts, "port": 0, "watchdog": 0, "process_file": str(file)}, -1, [], os.getpid())
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(OSError, match="No space") as failed:
        ward.write_down("boot")
    assert failed.value.errno == errno.ENOSPC
    assert set(Path("/proc/self/fd").iterdir()) == before
    assert not file.exists()
