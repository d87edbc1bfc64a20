"""Runs the installed command `bus` as a person does, and holds it to its manners."""

import os
import subprocess
import sys
from pathlib import Path

from tests.harness import DEADLINE

BUS = str(Path(sys.executable).with_name("bus"))


def run(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `bus` to its end; whatever it says, it is no traceback."""
    done = subprocess.run(
        [BUS, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def bus(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Run `bus`, expect an exit code; gives what it printed."""
    done = run(*arguments, cwd=cwd)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def complaint(*arguments: str, cwd: Path, code: int) -> str:
    """Run `bus`, expect it to fail; gives the one line that it says about that."""
    done = run(*arguments, cwd=cwd)
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    (line,) = done.stderr.splitlines()
    return line
