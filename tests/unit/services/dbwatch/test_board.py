import asyncio

from bus.events import DbDown
from bus.memory import MemoryBus
from services.dbwatch.board import Board
from services.dbwatch.reading import Position, Reading, Source


def reading(server: int, written: str, follows: int) -> Reading:
    source = Source(place="h:3306", server=follows, connected=True, applying=True, lag=0.0)
    position = Position(lineage="mariadb", server=server, own=written, received=written)
    return Reading(server="10.11", sources=(source,), position=position)


def test_what_others_have_of_a_lost_one_follows_from_its_loss() -> None:
    async def test() -> None:
        bus = MemoryBus("dbwatch")
        asked: list[str] = []
        board = Board(bus, ("db1", "db2"), asked.append)
        board.read("db1", reading(1, "1-1-100", follows=2))
        board.read("db2", reading(2, "1-1-99", follows=1))
        board.say(DbDown(database="db1", reason="Connection refused"), 0)
        board.settle()
        assert asked == ["db2"]
        board.read("db2", reading(2, "1-1-100", follows=1))
        board.settle()
        down, *answers = await bus.replay()
        assert [each.event.caught_up for each in answers] == [False, True]  # type: ignore[union-attr]
        assert [each.cause for each in answers] == [down.seq, down.seq]

    asyncio.run(test())
