from pathlib import Path

import pytest

from tests.bench import table
from tests.bench.table import Row


@pytest.mark.parametrize(
    ("figure", "target", "met"),
    [
        (4.9, "below 5", True),
        (5.0, "below 5", False),
        (30_000, "30,000", True),
        (29_999, "30,000", False),
        (1.0, "", None),
    ],
)
def test_targets(figure: float, target: str, met: object) -> None:
    assert Row("x", figure, "s", target).met is met


@pytest.mark.parametrize(
    ("figure", "shown"),
    [(65_432.1, "65,432"), (99.94, "99.9"), (5.678, "5.68"), (0.012345, "0.012"), (0, "0.00")],
)
def test_three_digits(figure: float, shown: str) -> None:
    assert table.number(figure) == shown


def test_median_of_runs_figure_by_figure() -> None:
    runs = [[Row("a", figure, "s"), Row("b", -figure, "s")] for figure in (3.0, 1.0, 2.0)]
    assert [row.figure for row in table.median_rows(runs)] == [2.0, -2.0]


def test_columns_stand_under_their_heads() -> None:
    lines = table.text([Row("short", 1.5, "ms", "below 2"), Row("rather long", 1_000, "ms")]).splitlines()
    assert lines[0].index("unit") == lines[1].index("ms") == lines[2].index("ms")
    assert lines[1].endswith("met")
    assert not any(line.endswith(" ") for line in lines)


def test_writes_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    other = "<!-- other: begin -->\nold\n<!-- other: end -->\n"
    file.write_text(f"{other}<!-- bench: begin -->\nold\n<!-- bench: end -->\nafter\n")
    table.write_between_marks(file, table.markdown([Row("a", 1.0, "s")]))
    text = file.read_text()
    assert text.startswith(f"{other}<!-- bench: begin -->\n| what |")
    assert text.endswith("<!-- bench: end -->\nafter\n")
    table.write_between_marks(file, "new", "other")
    text = file.read_text()
    assert text.startswith("<!-- other: begin -->\nnew\n<!-- other: end -->\n")
    assert "old" not in text


def test_a_file_without_marks_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("nothing here\n")
    with pytest.raises(ValueError, match="has no lines"):
        table.write_between_marks(file, "table")
    assert file.read_text() == "nothing here\n"
