"""The pages: one with everything on it, and one for an invoice."""

import os
import time
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any

from invoicing import asked, money
from invoicing.errors import NotFoundError, ShopError
from invoicing.request import Request


class Page(Request):
    def get_template_namespace(self) -> dict[str, Any]:
        return super().get_template_namespace() | {
            "money": money.show,
            "day": _day,
            "tenant": self.settings["tenant"],
            "pid": os.getpid(),
            "database": self.store.database.label,
        }

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        reason = self.say_what_is_wrong(status_code, **kwargs)
        title = HTTPStatus(self.get_status()).phrase
        self.finish(self.render_string("error.html", title=title, reason=reason))

    async def show_front(self, problem: str = "") -> None:
        products = await self.ask(self.store.products)
        invoices = await self.ask(self.store.invoices)
        self.finish(self.render_string("front.html", products=products, invoices=invoices, problem=problem))

    async def do(self, work: Awaitable[str]) -> None:
        """Do what a form asks for, then show the page that tells of it; or the front page and the reason."""
        try:
            where = await work
        except ShopError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            self.set_status(error.status)
            await self.show_front(str(error))
        else:
            self.redirect(where, status=HTTPStatus.SEE_OTHER)

    def form(self, *names: str) -> dict[str, Any]:
        return {name: self.get_body_argument(name, "") for name in names}


class Front(Page):
    async def get(self) -> None:
        await self.show_front()


class Missing(Page):
    def prepare(self) -> None:
        raise NotFoundError("there is no such page")


class OneInvoice(Page):
    async def get(self, identity: str) -> None:
        invoice = await self.ask(self.store.invoice, identity)
        self.finish(self.render_string("invoice.html", invoice=invoice))


class AddProduct(Page):
    async def post(self) -> None:
        await self.do(self._add())

    async def _add(self) -> str:
        await self.ask(self.store.add_product, *asked.new_product(self.form("name", "price")))
        return "/"


class AddPurchase(Page):
    async def post(self) -> None:
        await self.do(self._add())

    async def _add(self) -> str:
        await self.ask(self.store.purchase, *asked.purchase(self.form("product", "quantity", "price")))
        return "/"


class AddSale(Page):
    async def post(self) -> None:
        await self.do(self._add())

    async def _add(self) -> str:
        """Sell what has a quantity in the form's fields "sell-PRODUCT"."""
        lines = [
            {"product": name.removeprefix("sell-"), "quantity": self.get_body_argument(name)}
            for name in self.request.body_arguments
            if name.startswith("sell-") and self.get_body_argument(name)
        ]
        if not lines:
            raise ShopError("how many of what? Fill in at least one quantity")
        sale = asked.sale({**self.form("customer"), "lines": lines})
        invoice = await self.ask(self.store.sell, *sale)
        return f"/invoices/{invoice.id}"


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
