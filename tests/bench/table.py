"""What a bench tells, and how it is shown."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


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


def text(rows: Sequence[Row]) -> str:
    """An aligned table; figures stand to the right."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(rows: Sequence[Row]) -> str:
    lines = [HEAD, ("---", "--:", "---", "---", "---", "---"), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_between_marks(file: Path, table: str) -> None:
    """Replace what stands between the marks; raises ValueError when the file has none."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} has no lines {BEGIN} and {END}")
    file.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
