from pathlib import Path

from cli.stuck import LINES, excerpt

FILE = """tenant     acme

--- Stack of every thread
{stack}

--- Open files
    0  /dev/null
"""


def shown(tmp_path: Path, stack: str) -> list[str]:
    file = tmp_path / "evidence.txt"
    file.write_text(FILE.format(stack=stack))
    first, *rest = excerpt(file)
    assert first == f"Evidence: {file}"
    return rest


def test_where_it_stands_comes_first_and_nothing_else(tmp_path: Path) -> None:
    assert shown(tmp_path, "Thread 1:\n  File app.py, line 3") == [
        "  Stack of every thread:",
        "    Thread 1:",
        "    File app.py, line 3",
    ]


def test_a_long_stack_is_cut(tmp_path: Path) -> None:
    assert len(shown(tmp_path, "\n".join(map(str, range(100))))) == 1 + LINES


def test_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    (line,) = excerpt(tmp_path / "gone.txt")
    assert line.startswith(f"Evidence: {tmp_path / 'gone.txt'} (")
