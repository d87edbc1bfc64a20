"""Products, purchases, sales, stock: what the shop knows and refuses. Blocking; call it from a thread."""

import secrets
import time
from collections import Counter
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from invoicing.database import TAKEN, Connection, Database, Row
from invoicing.errors import ConflictError, NotFoundError

SHOWN = 50
"""Invoices that a list holds."""

LINES = """SELECT invoice.id, invoice.number, invoice.time, invoice.customer,
    product.id, product.name, -movement.quantity, movement.price
FROM invoice
JOIN movement ON movement.tenant = invoice.tenant AND movement.invoice = invoice.id
JOIN product ON product.tenant = movement.tenant AND product.id = movement.product
WHERE invoice.tenant = ?"""


class Product(NamedTuple):
    id: str
    name: str
    price: int
    stock: int


class Line(NamedTuple):
    product: str
    name: str
    quantity: int
    price: int

    @property
    def total(self) -> int:
        return self.quantity * self.price


class Invoice(NamedTuple):
    id: str
    number: int
    time: int
    """Seconds since the epoch."""
    customer: str
    lines: tuple[Line, ...]

    @property
    def total(self) -> int:
        return sum(line.total for line in self.lines)


class Store:
    """One tenant's stock and invoices. Every method raises UnavailableError when the database is away."""

    def __init__(self, database: Database, tenant: str) -> None:
        self.database = database
        self._tenant = tenant

    def products(self) -> list[Product]:
        """All products with what is in stock, by name."""
        with self.database.transaction(write=False) as connection:
            return self._products(connection)

    def add_product(self, name: str, price: int) -> Product:
        """Offer something new; raises ConflictError when there is a product of this name."""
        product = Product(_new_id(), name, price, 0)
        try:
            with self.database.transaction(write=True) as connection:
                connection.run(
                    "INSERT INTO product (tenant, id, name, price) VALUES (?, ?, ?, ?)",
                    self._tenant,
                    *product[:3],
                )
        except TAKEN:
            raise ConflictError(f"there is a product named {name!r} already") from None
        return product

    def purchase(self, product: str, quantity: int, price: int) -> Product:
        """Take `quantity` into stock, bought at `price` each; raises NotFoundError."""
        with self.database.transaction(write=True) as connection:
            known = _find({known.id: known for known in self._products(connection)}, product)
            self._move(connection, known.id, None, quantity, price)
        return known._replace(stock=known.stock + quantity)

    def sell(self, customer: str, wanted: Counter[str]) -> Invoice:
        """Sell all of `wanted` (product: quantity) on one invoice, or nothing of it.

        Raises NotFoundError for an unknown product and ConflictError when there is not enough in stock.
        """
        with self.database.transaction(write=True) as connection:
            known = {product.id: product for product in self._products(connection)}
            lines = tuple(_line(_find(known, product), quantity) for product, quantity in wanted.items())
            invoice = Invoice(_new_id(), self._next_number(connection), int(time.time()), customer, lines)
            connection.run(
                "INSERT INTO invoice (tenant, id, number, time, customer) VALUES (?, ?, ?, ?, ?)",
                self._tenant,
                *invoice[:4],
            )
            for line in lines:
                self._move(connection, line.product, invoice.id, -line.quantity, line.price)
        return invoice

    def invoice(self, invoice_id: str) -> Invoice:
        """Raises NotFoundError."""
        with self.database.transaction(write=False) as connection:
            rows = connection.run(
                LINES + " AND invoice.id = ? ORDER BY product.name", self._tenant, invoice_id
            )
        if not rows:
            raise NotFoundError(f"there is no invoice {invoice_id!r}")
        return _invoices(rows)[0]

    def invoices(self) -> list[Invoice]:
        """The newest invoices, newest first."""
        with self.database.transaction(write=False) as connection:
            newest = self._next_number(connection) - 1
            rows = connection.run(
                LINES + " AND invoice.number > ? ORDER BY invoice.number DESC, invoice.id, product.name",
                self._tenant,
                newest - SHOWN,
            )
        return _invoices(rows)

    def _products(self, connection: Connection) -> list[Product]:
        rows = connection.run(
            """SELECT product.id, product.name, product.price, COALESCE(SUM(movement.quantity), 0)
            FROM product LEFT JOIN movement
                ON movement.tenant = product.tenant AND movement.product = product.id
            WHERE product.tenant = ?
            GROUP BY product.id, product.name, product.price ORDER BY product.name""",
            self._tenant,
        )
        return [Product(identity, name, price, int(stock)) for identity, name, price, stock in rows]

    def _next_number(self, connection: Connection) -> int:
        rows = connection.run("SELECT COALESCE(MAX(number), 0) FROM invoice WHERE tenant = ?", self._tenant)
        return int(rows[0][0]) + 1

    def _move(
        self, connection: Connection, product: str, invoice: str | None, quantity: int, price: int
    ) -> None:
        connection.run(
            "INSERT INTO movement (tenant, id, product, invoice, quantity, price, time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._tenant,
            _new_id(),
            product,
            invoice,
            quantity,
            price,
            int(time.time()),
        )


def _find(known: dict[str, Product], product: str) -> Product:
    if product not in known:
        raise NotFoundError(f"there is no product {product!r}")
    return known[product]


def _line(product: Product, quantity: int) -> Line:
    if product.stock < quantity:
        raise ConflictError(f"{product.name}: {quantity} wanted, {product.stock} in stock")
    return Line(product.id, product.name, quantity, product.price)


def _invoices(rows: list[Row]) -> list[Invoice]:
    """Put lines that follow one another and have the same head together."""
    return [
        Invoice(*head, tuple(Line(*row[4:]) for row in lines))
        for head, lines in groupby(rows, itemgetter(slice(4)))
    ]


def _new_id() -> str:
    return secrets.token_hex(6)
