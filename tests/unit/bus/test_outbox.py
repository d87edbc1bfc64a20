import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import BusError
from bus.outbox import BATCH_BYTES, BATCH_EVENTS, Outbox, Ticket


def filled(count: int, window: int = 5_000, limit: int = 100_000) -> Outbox:
    outbox = Outbox(window, limit)
    for n in range(1, count + 1):
        assert outbox.add(Ticket("me", n), str(n).encode()) is None
    return outbox


def sent(outbox: Outbox) -> list[int]:
    numbers: list[int] = []
    while batch := outbox.batch():
        first, items = batch
        assert [int(item) for item in items] == list(range(first, first + len(items)))
        numbers += [int(item) for item in items]
    return numbers


def test_all_goes_out_once_and_in_order() -> None:
    outbox = filled(1_200)
    assert sent(outbox) == list(range(1, 1_201))
    assert sent(outbox) == []
    assert len(outbox) == 1_200


def test_a_batch_is_limited_in_number_and_size() -> None:
    outbox = filled(BATCH_EVENTS + 1)
    first = outbox.batch()
    assert first is not None
    assert len(first[1]) == BATCH_EVENTS
    large = Outbox()
    for n in range(1, 4):
        large.add(Ticket("me", n), bytes(BATCH_BYTES // 2))
    batch = large.batch()
    assert batch is not None
    assert len(batch[1]) == 2


def test_the_window_holds_back_until_acknowledged() -> None:
    outbox = filled(10, window=4)
    assert sent(outbox) == [1, 2, 3, 4]
    assert [ticket.n for ticket in outbox.acknowledge(2)] == [1, 2]
    assert sent(outbox) == [5, 6]


def test_a_rewind_sends_again_from_there() -> None:
    outbox = filled(6)
    sent(outbox)
    outbox.rewind(4)
    assert sent(outbox) == [4, 5, 6]
    outbox.rewind()
    assert sent(outbox) == [1, 2, 3, 4, 5, 6]


def test_the_oldest_is_given_up_when_there_are_too_many() -> None:
    outbox = filled(3, limit=3)
    sent(outbox)
    lost = outbox.add(Ticket("me", 4), b"4")
    assert lost is not None
    assert lost.n == 1
    assert outbox.oldest is not None
    assert outbox.oldest.n == 2
    outbox.rewind()
    assert sent(outbox) == [2, 3, 4]


@given(st.lists(st.sampled_from(["add", "send", "ack", "rewind", "lose"]), max_size=60), st.integers(1, 5))
def test_whatever_happens_the_far_end_gets_all_in_order(script: list[str], window: int) -> None:
    """Go-back-N: the far end takes only the next number; the wire may lose any batch."""
    outbox, added, arrived = Outbox(window), 0, 0
    for step in [*script, *["rewind", "send", "ack"] * 60]:
        if step == "add":
            added += 1
            outbox.add(Ticket("me", added), str(added).encode())
        elif step == "rewind":
            outbox.rewind()
        elif step == "ack":
            outbox.acknowledge(arrived)
        elif (batch := outbox.batch()) and step == "send" and batch[0] <= arrived + 1:
            arrived = max(arrived, batch[0] + len(batch[1]) - 1)
    assert arrived == added
    assert len(outbox) == 0


def test_a_ticket_gives_its_seq_or_its_error() -> None:
    async def scene() -> None:
        good, bad, settled = Ticket("me", 1), Ticket("me", 2), Ticket("me", 3)
        settled.settle(9)
        waiting = asyncio.gather(_wait(good), _wait(good), _wait(bad), return_exceptions=True)
        await asyncio.sleep(0)
        good.settle(7)
        bad.settle(error=BusError("refused"))
        first, second, error = await waiting
        assert (first, second, await settled) == (7, 7, 9)
        assert isinstance(error, BusError)
        with pytest.raises(BusError, match="refused"):
            await bad

    asyncio.run(scene())


async def _wait(ticket: Ticket) -> int:
    return await ticket
