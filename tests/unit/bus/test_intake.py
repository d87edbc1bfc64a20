from typing import Any

import msgpack

from bus import codec
from bus.events import DbUp
from bus.intake import Intake
from bus.memory import MemoryJournal
from bus.wire import Acked, Missing, Publish, Record


def item(number: int, cause: int = 0) -> Any:
    return msgpack.unpackb(codec.pack_posted(DbUp(database=f"db{number}", reason=""), cause))


class Publisher:
    """Publishes events whose names are their numbers."""

    def __init__(self, journal: MemoryJournal, instance: str = "p") -> None:
        self.journal, self.instance = journal, instance
        self.intake = Intake(journal)

    def send(self, first: int, last: int, oldest: int = 1, cause: int = 0) -> Acked | Missing:
        items = [item(number, cause) for number in range(first, last + 1)]
        return self.intake.accept(Publish(self.instance, "node", "me", oldest, first), items, 5.0)

    def commit(self) -> list[Record]:
        records = self.intake.take()
        self.journal.append(records)
        return records


def test_events_get_the_next_seqs() -> None:
    publisher = Publisher(MemoryJournal(head=100))
    assert publisher.send(1, 3) == Acked(1, [101, 102, 103])
    assert publisher.send(4, 4) == Acked(4, [104])
    records = publisher.commit()
    assert [(r.seq, r.n, r.subject, r.time) for r in records] == [
        (101, 1, "db1", 5.0),
        (102, 2, "db2", 5.0),
        (103, 3, "db3", 5.0),
        (104, 4, "db4", 5.0),
    ]
    assert codec.unpack_packed(records[0].packed).id == "p:1"


def test_what_comes_again_is_not_taken_again_but_acknowledged() -> None:
    publisher = Publisher(MemoryJournal())
    publisher.send(1, 3)
    assert publisher.send(2, 4) == Acked(2, [2, 3, 4])
    assert len(publisher.commit()) == 4
    assert publisher.send(1, 5) == Acked(1, [1, 2, 3, 4, 5])
    assert [r.n for r in publisher.commit()] == [5]


def test_what_comes_again_to_a_new_broker_is_known_from_the_journal() -> None:
    journal = MemoryJournal()
    first = Publisher(journal)
    first.send(1, 3)
    first.commit()
    second = Publisher(journal)
    assert second.send(2, 4) == Acked(2, [2, 3, 4])
    assert [r.n for r in second.commit()] == [4]


def test_a_hole_is_not_taken() -> None:
    publisher = Publisher(MemoryJournal())
    publisher.send(1, 2)
    assert publisher.send(4, 5) == Missing(3)
    assert [r.n for r in publisher.commit()] == [1, 2]


def test_a_publisher_that_a_lost_journal_knew_goes_on() -> None:
    publisher = Publisher(MemoryJournal())
    assert publisher.send(41, 42, oldest=41) == Acked(41, [1, 2])


def test_a_cause_by_number_becomes_a_seq() -> None:
    journal = MemoryJournal(head=10)
    publisher = Publisher(journal)
    publisher.send(1, 1)
    publisher.send(2, 2, cause=-1)
    publisher.send(3, 3, cause=-99)
    publisher.send(4, 4, cause=7)
    envelopes = [codec.unpack_packed(r.packed) for r in publisher.commit()]
    assert [e.cause for e in envelopes] == [0, 11, 0, 7]
    publisher.send(5, 5, cause=-2)
    assert codec.unpack_packed(publisher.commit()[0].packed).cause == 12


def test_what_does_not_fit_is_refused_alone() -> None:
    journal = MemoryJournal()
    intake = Intake(journal)
    items = [item(1), ["DB_UP.x", 0, {"type": "DB_UP"}], item(3), None]
    assert intake.accept(Publish("p", "node", "liar", 1, 1), items, 0.0) == Acked(1, [1, 0, 2, 0])
    journal.append(intake.take())
    assert intake.refused == {"liar": 2}
    assert intake.accept(Publish("p", "node", "liar", 1, 4), [None, item(5)], 0.0) == Acked(4, [0, 3])


def test_what_cannot_be_packed_again_is_refused() -> None:
    deep: Any = []
    for _ in range(2_000):
        deep = [deep]
    topic, cause, data = item(1)
    posted = [topic, cause, {**data, "unknown": deep}]
    assert Intake(MemoryJournal()).accept(Publish("p", "node", "liar", 1, 1), [posted], 0.0) == Acked(1, [0])
