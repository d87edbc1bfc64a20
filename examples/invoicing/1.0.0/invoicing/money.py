"""Money as whole cents; text with two decimals on the way in and out, and never a float."""

from decimal import Decimal, InvalidOperation

MOST = 1_000_000_000
"""Cents that a price may have at most."""


def parse(text: str) -> int:
    """Read "12.34", "12,34" or "12" as cents; raises ValueError with the reason."""
    try:
        cents = Decimal(text.strip().replace(",", ".")) * 100
    except InvalidOperation:
        raise ValueError(f"{text!r} is no amount such as 12.34") from None
    if not (cents.is_finite() and 0 <= cents <= MOST):
        raise ValueError(f"must be from 0.00 to {show(MOST)}")
    if cents != int(cents):
        raise ValueError(f"{text!r} has more than two decimals")
    return int(cents)


def show(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
