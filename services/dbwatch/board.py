"""What is said of all databases, and what follows from knowing them together."""

import logging
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from bus.api import Bus, Cause
from services.dbwatch import sync
from services.dbwatch.decide import DOWN, UNWRITABLE, badness
from services.dbwatch.reading import Reading
from services.dbwatch.sync import Sync
from services.dbwatch.verdict import Finding

log = logging.getLogger(__name__)


class Board:
    """What is known of all databases together: who is down, and who has what they had.

    `hurry` has a database checked now.
    """

    def __init__(self, bus: Bus, databases: Iterable[str], hurry: Callable[[str], None]) -> None:
        self._bus = bus
        self._hurry = hurry
        self._sync = Sync(standings=dict.fromkeys(databases))
        self._said: dict[str, int] = {}
        self._causes: dict[str, Cause] = {}
        """What was said of each last, for what follows from it."""

    @property
    def away(self) -> AbstractSet[int]:
        """server_id of each database that is down."""
        standings = (self._sync.standings[name] for name, bad in self._said.items() if bad == DOWN)
        return {standing.position.server for standing in standings if standing}

    def read(self, database: str, reading: Reading) -> None:
        """Take in what a check has read."""
        self._sync = sync.see(self._sync, database, reading)

    def settle(self) -> None:
        """Say who has all that a lost one had, while there is a lost one."""
        lost = {name for name, bad in self._said.items() if bad in {UNWRITABLE, DOWN}}
        self._sync, events = sync.settle(self._sync, lost)
        for event in events:
            log.info("database=%s %s %s: %s", event.source, event.type, event.target, event.reason)
            self._bus.publish(event, cause=self._causes[event.source])
            if event.caught_up is False:  # as it was half a second ago, maybe: tenants wait for better news
                self._hurry(event.target)

    def say(self, finding: Finding, cause: int) -> None:
        self._said[finding.database] = badness(finding)
        log.info("database=%s %s %s", finding.database, finding.type, finding.reason)
        self._causes[finding.database] = self._bus.publish(finding, cause=cause)
