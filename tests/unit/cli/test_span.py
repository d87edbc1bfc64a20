import pytest

from cli.span import Ago, Seq, duration, parse


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("90s", Ago(90.0)),
        ("10m", Ago(600.0)),
        ("10min", Ago(600.0)),
        ("1.5h", Ago(5400.0)),
        ("2 d", Ago(172_800.0)),
        ("1234", Seq(1234)),
    ],
)
def test_since_is_a_time_ago_or_a_seq(text: str, meaning: Ago | Seq) -> None:
    assert parse(text) == meaning


@pytest.mark.parametrize("text", ["", "x", "m", "-5m", "-5", "10y", "1e3s", "1.m", "\u0661\u0662m"])
def test_what_cannot_be_understood_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="neither a time ago"):
        parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.354, "0.35 s"),
        (9.9, "9.9 s"),
        (12.4, "12 s"),
        (300.0, "5 min"),
        (7300.0, "2 h"),
        (200_000.0, "2 days"),
    ],
)
def test_durations_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
