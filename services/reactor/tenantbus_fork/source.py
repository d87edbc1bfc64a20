"""Our own source as it was when the fork server began: an upgrade may replace the files while it runs."""

from __future__ import annotations

import os
from pathlib import Path

AT = 7
"""The descriptor of what `keep` has kept, below those of the application."""

PROGRAM = f"/proc/self/fd/{AT}"
"""What a new interpreter runs, which finds the descriptor open."""

MAIN = f"""\
import sys
from {__package__}.main import main

sys.path.pop(0)  # nothing of ours can be imported by accident
main()
"""


def keep() -> None:
    """Pack all parts into a file that has no name, and that Python can run."""
    import zipfile  # noqa: PLC0415  # what those that fork their tenants do without

    descriptor = os.memfd_create("source")
    with os.fdopen(descriptor, "wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("__main__.py", MAIN)
            for part in sorted(Path(__file__).parent.glob("*.py")):
                archive.write(part, f"{__package__}/{part.name}")
        os.dup2(descriptor, AT, inheritable=False)
