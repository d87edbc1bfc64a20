"""What each of our processes does before anything else: settings, lock, limits, log, a parent to die with."""

import ctypes
import logging
import os
import resource
import signal
import sys
from argparse import ArgumentParser
from typing import NoReturn

from bus import lock, sdnotify
from bus import settings as settings_file
from bus.errors import BusError
from bus.settings import Settings

log = logging.getLogger(__name__)

EXIT_NEVER = 3
"""This process can never start as things are (bad settings, already running): starting it again is no use."""

TENANT_FILES = 3
"""Descriptors that a tenant costs the reactor, which has most of them: unix socket, TCP socket, pidfd."""

OWN_FILES = 64
"""Descriptors that a service needs for itself, at most."""

PARENT_VARIABLE = "TENANTBUS_PARENT"
"""Environment: pid of a `bus up` that wants its services to end with it."""

PR_SET_PDEATHSIG = 1  # prctl(2)


def begin(name: str) -> Settings:
    """Prepare this process to be the service `name`; ends it with EXIT_NEVER when that cannot be."""
    parser = ArgumentParser(prog=f"tenantbus {name}")
    parser.add_argument("-c", "--config", help="settings file; default ./tenantbus.toml, /etc/tenantbus/")
    parser.add_argument("-v", "--verbose", action="store_true", help="log every decision")
    arguments = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format=f"%(asctime)s {name:<10} %(levelname)-7s %(message)s",
    )
    try:
        settings = settings_file.load(settings_file.find(arguments.config))
        settings.prepare()
        lock.hold(settings.run_dir / f"{name}.lock", name)
    except (BusError, OSError) as error:
        give_up(name, error)
    die_with_parent()
    files = raise_open_files()
    log.info("%d files may be open, enough for %d tenants", files, max(0, files - OWN_FILES) // TENANT_FILES)
    return settings


def give_up(name: str, error: Exception) -> NoReturn:
    """Say why this process can never start, and end it so that nobody tries again at once."""
    sys.stderr.write(f"tenantbus {name}: {error}\n")
    sdnotify.send(f"STATUS={' '.join(str(error).split())}")
    raise SystemExit(EXIT_NEVER)


def end_by(number: signal.Signals) -> NoReturn:
    """End as whom this signal has killed: who sees it should not start us again (systemd, the shell)."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    raise AssertionError(number)


def die_with_parent() -> None:
    """Get SIGTERM when the `bus up` that started us ends, however it ends."""
    parent = os.environ.pop(PARENT_VARIABLE, "")
    if not parent:
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):  # it ended before the line above
        raise SystemExit(0)


def raise_open_files() -> int:
    """Raise the limit of open files to the hard limit; gives it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
