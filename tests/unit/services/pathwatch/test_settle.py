from services.pathwatch.settle import Patience


def test_bad_news_is_held_until_it_lasted() -> None:
    patience = Patience[str](settle=3.0, retry=5.0)
    assert patience.holds("a", now=10.0)
    assert patience.holds("a", now=12.0)  # a second look does not make it wait longer
    assert patience.settling
    assert patience.next() == 13.0
    assert patience.due(12.9) == []
    assert patience.due(13.0) == ["a"]
    assert not patience.holds("a", now=13.0)
    assert not patience.settling
    assert patience.next() == float("inf")


def test_good_news_ends_the_wait() -> None:
    patience = Patience[str](settle=3.0, retry=5.0)
    assert patience.holds("a", now=10.0)
    patience.forget("a")
    assert patience.due(99.0) == []
    assert patience.holds("a", now=100.0)  # from the beginning


def test_what_cannot_be_seen_is_looked_at_again_and_again() -> None:
    patience = Patience[str](settle=3.0, retry=5.0)
    assert patience.holds("a", now=10.0)
    patience.unclear("a", now=11.0)
    assert not patience.settling
    assert patience.next() == 16.0
    patience.unclear("a", now=16.0)
    assert patience.due(20.9) == []
    assert patience.due(21.0) == ["a"]
    assert patience.holds("a", now=21.0)
    assert patience.due(23.9) == []


def test_many_are_due_in_their_order() -> None:
    patience = Patience[int](settle=1.0, retry=0.5)
    for item in range(5):
        patience.holds(item, now=float(item))
    patience.unclear(9, now=1.0)
    assert patience.next() == 1.0
    assert patience.due(3.0) == [0, 1, 2, 9]
