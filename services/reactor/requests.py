"""What people asked for, kept beside each tenant as well: a stop by hand outlives the journal."""

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from bus.model import TENANT_NAME
from services.reactor.actions import Heard, Request
from services.reactor.state import Order

log = logging.getLogger(__name__)

FILE = "request.json"

FORMER = 1
"""The seq given to a request of another journal: below all that this one can have about a tenant."""


class Kept(Struct, frozen=True, kw_only=True):
    """tenants/<tenant>/run/request.json."""

    seq: int
    event: Request


class Requests:
    """The newest request about each tenant; a file that cannot be written is logged, and not waited for."""

    def __init__(self, tenants_dir: Path) -> None:
        self._directory = tenants_dir
        self._kept: dict[str, Kept] = {}

    def recall(self, head: int) -> Iterator[Heard]:
        """Tell all that is kept; a seq above the journal's `head` is one of another journal."""
        for file in self._directory.glob(f"*/run/{FILE}"):
            kept = _read(file)
            if kept:
                self._kept[kept.event.tenant] = kept
                yield Heard(seq=kept.seq if kept.seq <= head else FORMER, event=kept.event)

    def keep(self, tenant: str, order: Order) -> None:
        """Write down what was asked for last, if that is not known; harmless when repeated."""
        kept = Kept(seq=order.seq, event=order.request) if order.request else None
        if kept == self._kept.get(tenant) or not TENANT_NAME.fullmatch(tenant):
            return
        file = self._directory / tenant / "run" / FILE
        try:
            self._write(file, kept)
        except FileNotFoundError:  # nobody has such a directory (yet)
            return
        except OSError as error:
            log.warning("%s: %s: what was asked for is in the journal alone", file, error.strerror)
            return
        if kept:
            self._kept[tenant] = kept
        else:
            del self._kept[tenant]

    def _write(self, file: Path, kept: Kept | None) -> None:
        if kept is None:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(mode=0o700, exist_ok=True)
        draft = file.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(kept) + b"\n")
        draft.replace(file)


def _read(file: Path) -> Kept | None:
    """Read a file of ours; a copied or broken one tells nothing."""
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s: %s: it is not believed", file, error)
        return None
    return kept if kept.event.tenant == file.parent.parent.name else None
