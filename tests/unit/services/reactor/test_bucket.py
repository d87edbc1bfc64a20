"""So many at once, so many a second."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reactor.bucket import Bucket


def taken(bucket: Bucket, times: list[float]) -> list[float]:
    """Take whenever there is a token at one of the times."""
    found = []
    for at in times:
        if bucket.next_at <= at:
            bucket.take(at)
            found.append(at)
    return found


def test_a_burst_then_the_rate_then_a_burst_again() -> None:
    bucket = Bucket(rate=10.0, burst=3)
    assert taken(bucket, [0.0] * 9) == [0.0] * 3
    assert bucket.next_at == pytest.approx(0.1)
    assert len(taken(bucket, [each / 100 for each in range(100)])) == 9
    assert taken(bucket, [50.0] * 9) == [50.0] * 3


@given(
    st.floats(0.1, 1000.0),
    st.integers(1, 50),
    st.lists(st.floats(0.0, 5.0), max_size=200).map(sorted),
    st.floats(0.01, 5.0),
)
def test_in_no_window_come_more_than_burst_and_rate(
    rate: float, burst: int, times: list[float], window: float
) -> None:
    found = taken(Bucket(rate, burst), times)
    for begin in found:
        within = [at for at in found if begin <= at <= begin + window]
        assert len(within) <= burst + rate * window + 1e-6
