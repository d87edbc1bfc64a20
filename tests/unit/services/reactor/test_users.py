"""Which number a tenant gets for a user of its own."""

from hypothesis import given
from hypothesis import strategies as st

from services.reactor.users import choose

FIRST = 1_900_000_000


@given(st.text("abc-", min_size=1, max_size=9), st.sets(st.integers(FIRST, FIRST + 9)))
def test_a_number_is_free_and_in_the_range_or_there_is_none(tenant: str, taken: set[int]) -> None:
    number = choose(tenant, FIRST, FIRST + 9, taken)
    if len(taken) == 10:
        assert number == 0
    else:
        assert FIRST <= number <= FIRST + 9
        assert number not in taken


def test_a_tenant_that_comes_back_gets_its_number() -> None:
    assert choose("acme", FIRST, FIRST + 99_999, set()) == choose("acme", FIRST, FIRST + 99_999, {FIRST})


def test_numbers_of_accounts_are_nobody_elses() -> None:
    assert choose("acme", 0, 0, set()) == 0  # root
