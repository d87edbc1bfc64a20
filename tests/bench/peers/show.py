"""The table of all managers: a line each, and every figure with its ratio to ours."""

from collections.abc import Sequence
from typing import NamedTuple

from tests.bench import table
from tests.bench.peers.measure import TENANTS, Figures
from tests.bench.peers.peer import Peer

HEAD = (
    "manager",
    "kill -9 to next 200, ms",
    "p95, ms",
    "as it comes, ms",
    "failed at 200/s",
    f"{TENANTS} from nothing, s",
    "PSS a tenant, MiB",
    "its own PSS, MiB",
    "idle, % of a core",
    "blocked to next 200, s",
)

RIGHT = frozenset(range(1, len(HEAD)))


class Measured(NamedTuple):
    """What became of measuring one."""

    kind: type[Peer]
    title: str
    """Its name and version."""
    found: Figures | str
    """Figures, or why there are none."""


def lines(all_measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Give the table's lines; the first that was measured is what the others are compared with."""
    ours = all_measured[0].found
    assert isinstance(ours, Figures), ours
    return [HEAD, *(_line(measured, ours) for measured in all_measured)]


def _line(measured: Measured, ours: Figures) -> tuple[str, ...]:
    if isinstance(measured.found, str):
        return (measured.title, f"not measured: {measured.found}", *[""] * (len(HEAD) - 2))
    if measured.found is ours:
        return (measured.title, *(_cell(figure, None) for figure in ours))
    return (measured.title, *map(_cell, measured.found, ours))


def _cell(figure: float | None, ours: float | None) -> str:
    if figure is None:
        return "never"
    ratio = f" ({table.number(figure / ours)}x)" if ours else ""
    return f"{table.number(figure)}{ratio}"


def markdown(all_measured: Sequence[Measured]) -> str:
    """Give the table with what was set."""
    settings = "; ".join(
        f"{kind.name}: {kind.best}, {f'blocked loops by {kind.checks}' if kind.checks else 'no checks'}"
        for kind, _, found in all_measured
        if isinstance(found, Figures)
    )
    return f"{table.piped(lines(all_measured), RIGHT)}\n\nWhat was set: {settings}."
