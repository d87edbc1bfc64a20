"""The demo's application: its store over both dialects, and its pages and JSON answers over HTTP."""

import asyncio
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

import pytest
from invoicing import money
from invoicing.app import make_app
from invoicing.database import Database
from invoicing.errors import ConflictError, NotFoundError, UnavailableError
from invoicing.store import Store
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.testing import bind_unused_port

from examples.mariadb import MariaDb, synchronize
from tests.harness import eventually, free_port, short_directory


@pytest.fixture(scope="module")
def mariadb() -> Iterator[str]:
    with short_directory() as directory:
        server = MariaDb(directory / "db", free_port())
        server.start()
        try:
            server.make_schema("shop", "shop", "p@ss/word")
            yield f"mysql://shop:{quote('p@ss/word', safe='')}@127.0.0.1:{server.port}/shop"
        finally:
            server.stop()


@pytest.fixture(params=["sqlite", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.db'}"
    return str(request.getfixturevalue("mariadb"))


@pytest.fixture
def store(url: str, request: pytest.FixtureRequest) -> Iterator[Store]:
    tenant = re.sub(r"\W", "-", request.node.name.lower())[:63]  # a tenant of its own for each test
    database = Database(url, tenant)
    yield Store(database, tenant)
    database.close()


def test_stock_is_what_was_bought_less_what_was_sold(store: Store) -> None:
    bolt = store.add_product("Bolt M8", 120)
    nut = store.add_product("Nut M8", 5)
    assert store.purchase(bolt.id, 10, 80).stock == 10
    store.purchase(nut.id, 100, 2)
    invoice = store.sell("Börje & Co", Counter({bolt.id: 3, nut.id: 6}))
    assert (invoice.number, invoice.customer, invoice.total) == (1, "Börje & Co", 3 * 120 + 6 * 5)
    assert [(item.name, item.stock) for item in store.products()] == [("Bolt M8", 7), ("Nut M8", 94)]
    assert store.invoice(invoice.id) == invoice
    second = store.sell("someone else", Counter({bolt.id: 7}))
    assert store.invoices() == [second, invoice]


def test_a_sale_of_too_much_changes_nothing(store: Store) -> None:
    bolt = store.add_product("Bolt", 120)
    nut = store.add_product("Nut", 5)
    store.purchase(bolt.id, 1, 80)
    with pytest.raises(ConflictError, match="Nut: 1 wanted, 0 in stock"):
        store.sell("someone", Counter({bolt.id: 1, nut.id: 1}))
    assert [item.stock for item in store.products()] == [1, 0]
    assert store.invoices() == []


def test_what_does_not_exist_and_what_exists_already(store: Store) -> None:
    store.add_product("Bolt", 120)
    with pytest.raises(ConflictError, match="'Bolt' already"):
        store.add_product("Bolt", 1)
    with pytest.raises(NotFoundError):
        store.purchase("0" * 12, 1, 1)
    with pytest.raises(NotFoundError):
        store.sell("someone", Counter({"0" * 12: 1}))
    with pytest.raises(NotFoundError):
        store.invoice("0" * 12)


def test_tenants_that_share_a_database_do_not_see_one_another(store: Store) -> None:
    bolt = store.add_product("Bolt", 120)
    other = Store(store.database, "another-tenant")
    with pytest.raises(NotFoundError):
        other.purchase(bolt.id, 1, 1)
    assert other.products() == []


def test_twenty_people_want_the_last_piece_and_one_gets_it(store: Store) -> None:
    bolt = store.add_product("Bolt", 120)
    store.purchase(bolt.id, 1, 80)
    at_once = threading.Barrier(20)

    def buy(number: int) -> bool:
        at_once.wait()
        try:
            store.sell(f"customer {number}", Counter({bolt.id: 1}))
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(20) as crowd:
        sold = list(crowd.map(buy, range(20)))
    assert sold.count(True) == 1
    assert store.products()[0].stock == 0
    assert len(store.invoices()) == 1


@pytest.mark.parametrize("url", ["mysql"], indirect=True)
def test_a_lost_connection_is_opened_anew(store: Store, url: str) -> None:
    store.add_product("Bolt", 120)
    with store.database.transaction(write=False) as connection:
        (own,) = connection.run("SELECT CONNECTION_ID()")[0]
    other = Database(url, "other")
    with other.transaction(write=False) as connection:
        connection.run(f"KILL {own}")
    other.close()
    assert [item.name for item in store.products()] == ["Bolt"]


def test_a_database_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    database = Database("mysql://nobody@127.0.0.1:1/shop", "acme")
    with pytest.raises(UnavailableError):
        Store(database, "acme").products()
    assert database.label == "127.0.0.1:1/shop"


def test_the_label_of_a_database_holds_no_password() -> None:
    assert Database("mysql://me:secret@db.example:3307/shop", "acme").label == "db.example:3307/shop"


def test_a_switch_counts_for_all_that_begins_from_then_on(store: Store, tmp_path: Path) -> None:
    store.add_product("Bolt", 120)
    began, may_end = threading.Event(), threading.Event()

    def sell_slowly() -> None:
        with store.database.transaction(write=True) as connection:
            began.set()
            may_end.wait()
            values = ("slow", "0123456789ab", "Nut", 5)
            connection.run("INSERT INTO product (tenant, id, name, price) VALUES (?, ?, ?, ?)", *values)

    def connections() -> int:
        return len([held for held in store.database._all if held.connection])

    with ThreadPoolExecutor(1) as pool:
        selling = pool.submit(sell_slowly)
        began.wait()
        assert connections() == 2
        store.database.switch(f"sqlite:///{tmp_path / 'other.db'}")
        assert connections() == 1  # the one that works
        assert store.products() == []
        store.add_product("Washer", 3)
        may_end.set()
        selling.result()
        assert connections() == 1
        assert store.database.label == "other.db"
        assert [item.name for item in pool.submit(store.products).result()] == ["Washer"]


def test_what_was_written_last_is_found_in_the_other_database(short_dir: Path) -> None:
    one, other = (MariaDb(short_dir / f"db{number}", free_port(), number) for number in (1, 2))
    try:
        for server in (one, other):
            server.start()
            server.make_schema("shop", "shop", "secret")
        synchronize(one, other)
        urls = [f"mysql://shop:secret@127.0.0.1:{server.port}/shop" for server in (one, other)]
        database = Database(urls[0], "acme")
        store = Store(database, "acme")
        other.sql("STOP SLAVE SQL_THREAD")
        store.add_product("Bolt", 120)
        database.switch(urls[1])
        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(store.products)
            waits = (
                "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%MASTER_GTID_WAIT(%' AND id <>"
            )
            eventually(lambda: other.sql(f"{waits} CONNECTION_ID()"))
            other.sql("START SLAVE SQL_THREAD")
            assert [item.name for item in looking.result()] == ["Bolt"]
        database.close()
    finally:
        one.stop()
        other.stop()


@pytest.mark.parametrize(
    ("text", "cents"), [("12.34", 1234), ("12,3", 1230), (" 7 ", 700), ("0", 0), ("0.29", 29), ("1e2", 10000)]
)
def test_money_is_read_exactly(text: str, cents: int) -> None:
    assert money.parse(text) == cents


@pytest.mark.parametrize("text", ["", "x", "-1", "0.001", "nan", "inf", "1e99"])
def test_what_is_no_money_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is no amount|decimals"):
        money.parse(text)


class Acme(NamedTuple):
    database_url: str
    name: str = "acme"
    release: str = "invoicing-1.0.0"
    plan: str = "paid"

    def on_database_change(self, callback: Callable[[str], object]) -> None:
        """This tenant's never changes."""


class Browser:
    """Talks to one application on a real socket; nothing is followed or hidden."""

    def __init__(self, database_url: str) -> None:
        self.app = make_app(Acme(database_url))
        listening, port = bind_unused_port()
        self.server = HTTPServer(self.app)
        self.server.add_socket(listening)
        self.client = AsyncHTTPClient(force_instance=True)
        self.root = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> HTTPResponse:
        return await self.client.fetch(self.root + path, raise_error=False, follow_redirects=False)

    async def post(self, path: str, body: object, **headers: str) -> HTTPResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        headers = headers or {"Content-Type": "application/json"}
        return await self.client.fetch(
            self.root + path,
            method="POST",
            body=text,
            headers=HTTPHeaders(headers),
            raise_error=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        self.server.stop()
        await self.server.close_all_connections()
        self.client.close()
        self.app.settings["pool"].shutdown()
        self.app.settings["store"].database.close()


def browse(directory: Path, visit: Callable[[Browser], Awaitable[None]]) -> None:
    async def main() -> None:
        browser = Browser(f"sqlite:///{directory / 'shop.db'}")
        try:
            await visit(browser)
        finally:
            await browser.close()

    asyncio.run(main())


def test_the_json_answers_from_product_to_invoice(tmp_path: Path) -> None:
    async def visit(browser: Browser) -> None:
        bolt = json.loads((await browser.post("/api/products", {"name": "Bolt", "price": "1.20"})).body)
        assert bolt == {"id": bolt["id"], "name": "Bolt", "price": "1.20", "stock": 0}
        bought = {"product": bolt["id"], "quantity": 5, "price": "0.80"}
        assert (await browser.post("/api/purchases", bought)).code == 201
        sale = {"customer": "Bob", "lines": [{"product": bolt["id"], "quantity": 2}] * 2}
        answer = await browser.post("/api/sales", sale)
        assert answer.code == 201
        invoice = json.loads(answer.body)
        assert (invoice["total"], [line["quantity"] for line in invoice["lines"]]) == ("4.80", [4])
        assert json.loads((await browser.get(f"/api/invoices/{invoice['id']}")).body) == invoice
        assert json.loads((await browser.get("/api/sales")).body) == [invoice]
        assert json.loads((await browser.get("/api/stock")).body)[0]["stock"] == 1
        refused = await browser.post("/api/sales", sale)
        assert (refused.code, json.loads(refused.body)) == (409, {"error": "Bolt: 4 wanted, 1 in stock"})

    browse(tmp_path, visit)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/api/products", "{", "the body is no JSON"),
        ("/api/products", [], "the body must be a JSON object"),
        ("/api/products", {"name": " ", "price": "1"}, "name: "),
        ("/api/products", {"name": "x" * 101, "price": "1"}, "name: "),
        ("/api/products", {"name": "x", "price": 1.2}, "price: "),
        ("/api/products", {"name": "x", "price": "-1"}, "price: "),
        ("/api/purchases", {"product": "x", "quantity": True, "price": "1"}, "quantity: "),
        ("/api/purchases", {"product": "x", "quantity": 0, "price": "1"}, "quantity: "),
        ("/api/sales", {"customer": "x"}, "lines: "),
        ("/api/sales", {"customer": "x", "lines": [1]}, "lines: "),
    ],
)
def test_bad_input_is_refused_with_a_reason(tmp_path: Path, path: str, body: object, reason: str) -> None:
    async def visit(browser: Browser) -> None:
        answer = await browser.post(path, body)
        assert answer.code == 400
        assert json.loads(answer.body)["error"].startswith(reason)

    browse(tmp_path, visit)


def test_another_site_cannot_post(tmp_path: Path) -> None:
    async def visit(browser: Browser) -> None:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert (await browser.post("/products", "name=x&price=1", **form)).code == 403
        answer = await browser.post("/api/products", '{"name": "x", "price": "1"}', **form)
        assert answer.code == 400
        assert json.loads((await browser.get("/api/products")).body) == []

    browse(tmp_path, visit)


def test_a_person_offers_buys_and_sells_on_the_page(tmp_path: Path) -> None:
    async def visit(browser: Browser) -> None:
        front = await browser.get("/")
        cookie = front.headers["Set-Cookie"].partition(";")[0]
        token = found(r'name="_xsrf" value="([^"]+)"', front)

        async def submit(path: str, **fields: str) -> HTTPResponse:
            form = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
            return await browser.post(path, urlencode({"_xsrf": token, **fields}), **form)

        assert (await submit("/products", name="<b>Bolt</b>", price="1,20")).code == 303
        product = found(r'<option value="(\w+)">', await browser.get("/"))
        assert (await submit("/purchases", product=product, quantity="5", price="0.8")).code == 303
        sold = await submit("/sales", customer="Bob", **{f"sell-{product}": "2"})
        assert sold.code == 303
        assert found(r"Total</th><td[^>]*><b>([^<]+)", await browser.get(sold.headers["Location"])) == "2.40"
        too_much = await submit("/sales", customer="Bob", **{f"sell-{product}": "9"})
        assert too_much.code == 409
        assert found(r'role="alert">([^<]+)', too_much) == "&lt;b&gt;Bolt&lt;/b&gt;: 9 wanted, 3 in stock"
        assert (await submit("/sales", customer="Bob", **{f"sell-{product}": ""})).code == 400

    browse(tmp_path, visit)


def test_the_page_tells_who_serves_it_and_from_where(tmp_path: Path) -> None:
    async def visit(browser: Browser) -> None:
        page = (await browser.get("/")).body.decode()
        for told in (
            "<b>acme</b> (paid)",
            "<b>invoicing-1.0.0</b>",
            f"<b>{os.getpid()}</b>",
            "<b>shop.db</b>",
        ):
            assert told in page
        assert 'content="width=device-width' in page
        assert (await browser.get("/nowhere")).code == 404
        assert (await browser.get("/api/invoices/" + "0" * 12)).code == 404

    browse(tmp_path, visit)


def test_health_asks_no_database_and_a_lost_one_is_503() -> None:
    async def main() -> None:
        browser = Browser("mysql://nobody@127.0.0.1:1/shop")
        try:
            assert (await browser.get("/healthz")).body == b"ok\n"
            for path in ("/", "/api/stock"):
                answer = await browser.get(path)
                assert answer.code == 503
                assert b"nobody" not in answer.body
        finally:
            await browser.close()

    asyncio.run(main())


def found(pattern: str, page: HTTPResponse) -> str:
    match = re.search(pattern, page.body.decode())
    assert match, page.body.decode()
    return match[1]
