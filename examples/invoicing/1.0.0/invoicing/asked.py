"""What a form or a JSON body asks for, checked."""

import json
from collections import Counter
from typing import Any, NamedTuple

from invoicing import money
from invoicing.errors import ShopError

LONGEST = 100
"""Characters of a name."""

MOST = 1_000_000
"""Pieces in one line."""


class NewProduct(NamedTuple):
    name: str
    price: int


class Purchase(NamedTuple):
    product: str
    quantity: int
    price: int


class Sale(NamedTuple):
    customer: str
    wanted: Counter[str]


def body(raw: bytes) -> dict[str, Any]:
    """Read a JSON object; raises ShopError."""
    try:
        values = json.loads(raw)
    except ValueError:
        raise ShopError("the body is no JSON") from None
    if not isinstance(values, dict):
        raise ShopError("the body must be a JSON object")
    return values


def new_product(values: dict[str, Any]) -> NewProduct:
    return NewProduct(_text(values, "name"), _price(values))


def purchase(values: dict[str, Any]) -> Purchase:
    return Purchase(_text(values, "product"), _quantity(values), _price(values))


def sale(values: dict[str, Any]) -> Sale:
    """Read customer and lines; several lines of one product are one."""
    wanted: Counter[str] = Counter()
    lines = values.get("lines")
    if not isinstance(lines, list) or not lines or len(lines) > LONGEST:
        raise ShopError(f"lines: must be a list of 1 to {LONGEST} lines")
    for line in lines:
        if not isinstance(line, dict):
            raise ShopError("lines: each must have `product` and `quantity`")
        wanted[_text(line, "product")] += _quantity(line)
    return Sale(_text(values, "customer"), wanted)


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text.isprintable() or not 0 < len(text) <= LONGEST:
        raise ShopError(f"{key}: must be a text of 1 to {LONGEST} characters")
    return text


def _quantity(values: dict[str, Any]) -> int:
    value = values.get("quantity")
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if type(number) is not int or not 1 <= number <= MOST:
        raise ShopError(f"quantity: must be a whole number from 1 to {MOST}")
    return number


def _price(values: dict[str, Any]) -> int:
    value = values.get("price")
    if not isinstance(value, str):
        raise ShopError('price: must be a text such as "12.34"')
    try:
        return money.parse(value)
    except ValueError as error:
        raise ShopError(f"price: {error}") from None
