"""A minimal application: says who it is, and whether it is healthy."""

import os
from typing import Any

import tornado.web


class Page(tornado.web.RequestHandler):
    def initialize(self, tenant: Any) -> None:
        self.tenant = tenant

    def get(self) -> None:
        greeting = os.environ.get("GREETING", "Hello")
        self.write(f"{greeting} from {self.tenant.name}, release {self.tenant.release}, pid {os.getpid()}\n")


class Health(tornado.web.RequestHandler):
    def initialize(self, tenant: Any) -> None:
        self.tenant = tenant

    def get(self) -> None:
        self.write({"tenant": self.tenant.name, "release": self.tenant.release, "pid": os.getpid()})


def make_app(tenant: Any) -> tornado.web.Application:
    """Called in each tenant's process, once; tenant has name, release, plan and database_url."""
    return tornado.web.Application(
        [("/", Page, {"tenant": tenant}), ("/healthz", Health, {"tenant": tenant})]
    )
