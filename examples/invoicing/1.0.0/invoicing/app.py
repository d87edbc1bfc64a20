"""The application: make_app(tenant) is what tenantbus asks for."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from tornado.web import Application

from invoicing import api, pages
from invoicing.database import Database
from invoicing.store import Store

HERE = Path(__file__).parent


class Tenant(Protocol):
    """What tenantbus tells an application about the customer that it serves."""

    @property
    def name(self) -> str: ...
    @property
    def release(self) -> str: ...
    @property
    def plan(self) -> str: ...
    @property
    def database_url(self) -> str: ...
    def on_database_change(self, callback: Callable[[str], object]) -> None: ...


def make_app(tenant: Tenant) -> Application:
    """Give one tenant's application. Threads and connections come with the first request that needs them."""
    database = Database(tenant.database_url, tenant.name)
    tenant.on_database_change(database.switch)
    identifier = "([0-9a-f]{12})"
    return Application(
        [
            ("/", pages.Front),
            (f"/invoices/{identifier}", pages.OneInvoice),
            ("/products", pages.AddProduct),
            ("/purchases", pages.AddPurchase),
            ("/sales", pages.AddSale),
            ("/healthz", api.Health),
            ("/api/products", api.Products),
            ("/api/purchases", api.Purchases),
            ("/api/sales", api.Sales),
            ("/api/stock", api.Stock),
            (f"/api/invoices/{identifier}", api.OneInvoice),
        ],
        store=Store(database, tenant.name),
        pool=ThreadPoolExecutor(max_workers=2, thread_name_prefix="database"),
        template_path=HERE / "templates",
        static_path=HERE / "static",
        default_handler_class=pages.Missing,
        xsrf_cookies=True,
        xsrf_cookie_kwargs={"samesite": "Strict", "httponly": True},
        tenant=tenant,
    )
