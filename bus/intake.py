"""Turns publications into records: gives each event its seq, once; pure but for what it asks the journal."""

import logging
from typing import Any, Protocol

from bus import codec
from bus.errors import DecodeError
from bus.wire import VERSION, Acked, Missing, Publish, Record, Stamp

log = logging.getLogger(__name__)


class Known(Protocol):
    """What must be known of the past."""

    head: int

    def last_n(self, instance: str) -> int: ...

    def seq_of(self, instance: str, n: int) -> int: ...


class Intake:
    """Collects the records of one batch."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._begin()
        self.refused: dict[str, int] = {}
        """How many events of a source did not fit the protocol."""

    def _begin(self) -> None:
        self._records: list[Record] = []
        self._seqs: dict[tuple[str, int], int] = {}
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._records)

    def take(self) -> list[Record]:
        """Give the batch, and begin the next one."""
        records = self._records
        self._begin()
        return records

    def accept(self, publish: Publish, items: list[Any], now: float) -> Acked | Missing:
        """Take in a publication; what this gives must be sent only once the batch is in the journal.

        What came before is not taken again. Something missing before it means that all of it must come again,
        unless the publisher has nothing older any more (it was acknowledged by a journal that is lost).
        """
        instance = publish.instance
        last = self._numbers.get(instance) or self._known.last_n(instance)
        last = max(last, publish.oldest - 1)
        if publish.first > last + 1:
            return Missing(last + 1)
        seqs = []
        for n, raw in enumerate(items, publish.first):
            seqs.append(self._add(publish, n, raw, now) if n > last else self._seq_of(instance, n))
        self._numbers[instance] = max(last, publish.first + len(items) - 1)
        return Acked(publish.first, seqs)

    def _add(self, publish: Publish, n: int, raw: Any, now: float) -> int:
        seq = self._known.head + len(self._records) + 1
        try:
            posted, _ = codec.unpack_posted(raw)
            cause = posted.cause if posted.cause >= 0 else self._seq_of(publish.instance, -posted.cause)
            stamp = Stamp(VERSION, seq, f"{publish.instance}:{n}", now, publish.node, publish.source, cause)
            packed = codec.pack_item(posted.topic, stamp, posted.data)
        except DecodeError as error:
            self._refuse(publish.source, error)
            return 0
        name, _, subject = posted.topic.partition(".")
        self._records.append(Record(seq, now, name, subject, publish.instance, n, packed))
        self._seqs[publish.instance, n] = seq
        return seq

    def _seq_of(self, instance: str, n: int) -> int:
        return self._seqs.get((instance, n)) or self._known.seq_of(instance, n)

    def _refuse(self, source: str, error: DecodeError) -> None:
        if source not in self.refused:
            log.warning("%s publishes what does not fit the protocol (%s); said once", source, error)
        self.refused[source] = self.refused.get(source, 0) + 1
