import pytest

from cli.logs import harmless


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain \xc3\xa4\ttext", "plain \u00e4\ttext"),
        (b"\x1b[31mred", "\x1b[31mred\x1b[0m"),
        (b"\x1b]0;title\x07", "?]0;title?"),
        (b"a\rb\x1b[2Jc", "a?b?[2Jc"),
        (b"\xff\xc2\x9b", "\ufffd?"),
    ],
)
def test_terminal_gets_colours_and_nothing_else(line: bytes, shown: str) -> None:
    assert harmless(line).decode() == shown
