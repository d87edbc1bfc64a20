"""Decides what is said of databases that may have all that a lost one had; pure."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from msgspec import Struct, structs

from bus.events import DbCaughtUp
from services.dbwatch.position import comparable, has
from services.dbwatch.reading import Position, Reading

WORDS_MAX = 300
"""Characters of a position in an event; MySQL's grow with the number of servers that ever wrote."""


class Standing(Struct, frozen=True, kw_only=True):
    """What a database had when it was last seen."""

    position: Position
    follows: AbstractSet[int] | None
    """server_id of those whose changes it gets; None when our user may not ask."""


class Sync(Struct, frozen=True, kw_only=True):
    """All databases, and what was said of them."""

    standings: Mapping[str, Standing | None] = {}
    """None while nothing was seen of one."""
    said: Mapping[tuple[str, str], bool | None] = {}
    """(source, target) -> whether it has caught up."""


class Answer(NamedTuple):
    caught_up: bool | None
    reason: str


def see(sync: Sync, database: str, reading: Reading) -> Sync:
    """Take in what a check has read."""
    sources = reading.sources
    follows = None if sources is None else frozenset(source.server for source in sources)
    standing = Standing(position=reading.position, follows=follows)
    return structs.replace(sync, standings={**sync.standings, database: standing})


def settle(sync: Sync, lost: AbstractSet[str]) -> tuple[Sync, list[DbCaughtUp]]:
    """Compare all others with those that are lost, and say what is news."""
    said = {pair: answer for pair, answer in sync.said.items() if pair[0] in lost}
    events = []
    for source, target in _pairs(sync, lost):
        known = said.get((source, target), "nothing")
        if known in (True, None) or sync.standings[target] is None:
            continue
        answer = _compare(sync, source, target)
        if answer.caught_up is not known:
            said[source, target] = answer.caught_up
            events.append(_event(sync, source, target, answer))
    return structs.replace(sync, said=said), events


def _pairs(sync: Sync, lost: AbstractSet[str]) -> Iterator[tuple[str, str]]:
    for source in sorted(lost):
        for target in sync.standings:
            if target not in lost:
                yield source, target


def _compare(sync: Sync, source: str, target: str) -> Answer:
    had, has_now = sync.standings.get(source), sync.standings[target]
    if had is None or has_now is None:
        return Answer(None, f"nothing was seen of {source} since dbwatch started")
    if not comparable(has_now.position, had.position):
        return Answer(None, f"nothing tells what {source} and {target} have in common")
    if had.position.lineage != "galera":
        reach = _reach(sync, target)
        if reach is None:
            return Answer(None, f"whom {target} follows may not be asked: the user lacks SLAVE MONITOR")
        if had.position.server not in reach:
            return Answer(None, f"{target} does not follow {source}")
    if has(has_now.position, had.position):
        return Answer(True, f"has all that was last seen of {source}")
    return Answer(False, f"has not yet all that was last seen of {source}")


def _reach(sync: Sync, target: str) -> AbstractSet[int] | None:
    """Tell whose changes a database gets, also by way of others that are watched."""
    follows = {each.position.server: each.follows for each in sync.standings.values() if each}
    first = sync.standings[target]
    found: set[int] = set()
    pending = set(first.follows) if first and first.follows is not None else None
    if pending is None:
        return None
    while pending:
        server = pending.pop()
        found.add(server)
        pending |= (follows.get(server) or frozenset()) - found
    return found


def _event(sync: Sync, source: str, target: str, answer: Answer) -> DbCaughtUp:
    return DbCaughtUp(
        source=source,
        target=target,
        caught_up=answer.caught_up,
        reason=answer.reason,
        wanted=_words(sync.standings.get(source)),
        reached=_words(sync.standings[target]),
    )


def _words(standing: Standing | None) -> str:
    if standing is None:
        return ""
    position = standing.position
    return " ".join(filter(None, (position.cluster, position.own, position.received)))[:WORDS_MAX]
