"""The JSON answers. A body must say that it is JSON, which no other site's form can (so no XSRF token)."""

import json
from typing import Any

from invoicing import asked, money
from invoicing.errors import ShopError
from invoicing.request import Request
from invoicing.store import Invoice, Product


class Json(Request):
    def check_xsrf_cookie(self) -> None:
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ShopError("Content-Type: must be application/json")

    def give(self, value: object, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        reason = self.say_what_is_wrong(status_code, **kwargs)
        self.give({"error": reason}, self.get_status())


class Health(Request):
    """Tells that the process answers; asks nobody else, so that a lost database restarts no tenant."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("ok\n")


class Products(Json):
    async def get(self) -> None:
        self.give([_product(product) for product in await self.ask(self.store.products)])

    async def post(self) -> None:
        new = asked.new_product(asked.body(self.request.body))
        self.give(_product(await self.ask(self.store.add_product, *new)), 201)


class Stock(Json):
    async def get(self) -> None:
        products = await self.ask(self.store.products)
        self.give([{"product": item.id, "name": item.name, "stock": item.stock} for item in products])


class Purchases(Json):
    async def post(self) -> None:
        bought = asked.purchase(asked.body(self.request.body))
        self.give(_product(await self.ask(self.store.purchase, *bought)), 201)


class Sales(Json):
    async def get(self) -> None:
        self.give([_invoice(invoice) for invoice in await self.ask(self.store.invoices)])

    async def post(self) -> None:
        sale = asked.sale(asked.body(self.request.body))
        self.give(_invoice(await self.ask(self.store.sell, *sale)), 201)


class OneInvoice(Json):
    async def get(self, identity: str) -> None:
        self.give(_invoice(await self.ask(self.store.invoice, identity)))


def _product(product: Product) -> dict[str, object]:
    return {**product._asdict(), "price": money.show(product.price)}


def _invoice(invoice: Invoice) -> dict[str, object]:
    lines = [
        {**line._asdict(), "price": money.show(line.price), "total": money.show(line.total)}
        for line in invoice.lines
    ]
    return {**invoice._asdict(), "lines": lines, "total": money.show(invoice.total)}
