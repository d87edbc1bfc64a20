"""Compares what two databases have: GTIDs of MariaDB and MySQL, and Galera's last commit; pure."""

from services.dbwatch.reading import Position


def has(target: Position, source: Position) -> bool:
    """Tell whether a target that follows the source, or is in its cluster, has all that the source had."""
    match source.lineage:
        case "galera":
            return int(target.own or 0) >= int(source.own or 0)
        case "mysql":
            return _includes(_transactions(target.own), _transactions(source.own))
        case _:
            return _has_gtids(target, source)


def comparable(target: Position, source: Position) -> bool:
    """Tell whether positions say anything about the two, if one follows the other."""
    if not source.lineage or source.lineage != target.lineage:
        return False
    return source.cluster == target.cluster


def _has_gtids(target: Position, source: Position) -> bool:
    """Compare domain by domain (https://mariadb.com/kb/en/gtid/).

    What the target wrote itself it has; anything else it has as far as it was received: its own log may count
    on in the same domain.
    """
    received = _gtids(target.received)
    for domain, (server, number) in {**_gtids(source.received), **_gtids(source.own)}.items():
        if server != target.server and received.get(domain, (0, 0))[1] < number:
            return False
    return True


def _gtids(text: str) -> dict[int, tuple[int, int]]:
    """Read "0-1-100,2-2-7": domain -> (server, number)."""
    parts = [list(map(int, gtid.split("-"))) for gtid in text.split(",") if gtid.strip()]
    return {domain: (server, number) for domain, server, number in parts}


Ranges = dict[str, list[tuple[int, int]]]


def _transactions(text: str) -> Ranges:
    """Read MySQL's "uuid:1-5:7,uuid:tag:1": who -> first and last of each range.

    See https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html.
    """
    found: Ranges = {}
    for part in "".join(text.split()).split(","):
        who, *ranges = part.split(":")
        for piece in ranges:
            if not piece[0].isdigit():  # a tag: what follows is of it
                who = f"{who.partition(':')[0]}:{piece}"
                continue
            first, _, last = piece.partition("-")
            found.setdefault(who.lower(), []).append((int(first), int(last or first)))
    return found


def _includes(whole: Ranges, part: Ranges) -> bool:
    """Ranges that touch are one on a real server, so each must lie within one."""
    return all(
        any(low <= first and last <= high for low, high in whole.get(who, []))
        for who, ranges in part.items()
        for first, last in ranges
    )
