"""Which tenant has which TCP port: `run/port` beside each says so, and is never believed alone."""

import re
from pathlib import Path


def file(tenants_dir: Path, tenant: str) -> Path:
    return tenants_dir / tenant / "run" / "port"


def read(port_file: Path) -> int:
    """Read a port file; 0 when it is not there, or does not hold a port."""
    try:
        text = port_file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return 0
    port = int(text) if re.fullmatch(r"[0-9]{1,5}\n?", text) else 0
    return port if port < 2**16 else 0


def owners(tenants_dir: Path) -> dict[int, str]:
    """Tell whose each port is: of two that claim the same, the older file's (ctime)."""
    claims = []
    for each in tenants_dir.glob("*/run/port"):
        try:
            claims.append((each.stat().st_ctime_ns, each))
        except FileNotFoundError:  # the tenant is being removed
            continue
    found: dict[int, str] = {}
    for _, each in sorted(claims):
        port = read(each)
        if port:
            found.setdefault(port, each.parent.parent.name)
    return found
