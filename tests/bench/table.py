"""What a bench tells, and how it is shown."""

import statistics
from collections.abc import Container, Sequence
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One figure."""

    what: str
    figure: float
    unit: str
    target: str = ""
    """"below 5": the figure must be smaller; "30,000": at least so much; "": only told."""
    beside: str = ""
    """What to compare it with: the same on another way or by another product."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None when there is none."""
        if not self.target:
            return None
        bound = float(self.target.removeprefix("below ").replace(",", ""))
        return self.figure < bound if self.target.startswith("below ") else self.figure >= bound


def median_rows(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """Take the median of each figure over several runs of one bench."""
    return [
        rows[0]._replace(figure=statistics.median(row.figure for row in rows))
        for rows in zip(*runs, strict=True)
    ]


def number(figure: float) -> str:
    """Three digits say all there is to say on a noisy machine."""
    if figure >= 100:
        return f"{figure:,.0f}"
    return (
        f"{figure:.1f}"
        if figure >= 10
        else f"{figure:.2f}"
        if figure >= 0.1 or figure == 0
        else f"{figure:.2g}"
    )


def cells(row: Row) -> tuple[str, ...]:
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    return row.what, number(row.figure), row.unit, row.target, verdict, row.beside


HEAD = ("what", "figure", "unit", "target", "", "beside")


RIGHT = frozenset({1})


def text(rows: Sequence[Row]) -> str:
    return aligned([HEAD, *map(cells, rows)], RIGHT)


def markdown(rows: Sequence[Row]) -> str:
    return piped([HEAD, *map(cells, rows)], RIGHT)


def aligned(lines: Sequence[Sequence[str]], right: Container[int]) -> str:
    """Lay out for a terminal; some columns stand to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def piped(lines: Sequence[Sequence[str]], right: Container[int]) -> str:
    """Lay out as a Markdown table."""
    rule = ["--:" if column in right else "---" for column in range(len(lines[0]))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def write_between_marks(file: Path, table: str, name: str = "bench") -> None:
    """Replace what stands between the marks of that name; raises ValueError when the file has none."""
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = file.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{file} has no lines {first} and {last}")
    file.write_text(f"{before}{first}\n{table}\n{last}{after}")
