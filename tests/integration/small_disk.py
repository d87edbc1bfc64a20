"""A disk of its own that can be filled: a small tmpfs."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.harness import short_directory
from tests.unable import unable


@contextmanager
def disk_for_a_server() -> Iterator[Path]:
    """256 MiB, where a server's own user can get."""
    with short_directory() as directory:
        directory.chmod(0o711)
        with mounted(directory, "256M") as disk:
            yield disk


@contextmanager
def mounted(directory: Path, size: str) -> Iterator[Path]:
    if os.geteuid():
        unable("a disk of our own needs root")
    disk = directory / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        unable(f"no disk of our own: {done.stderr}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
