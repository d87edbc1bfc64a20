"""What pages and JSON answers have in common: the store behind a thread pool, errors, headers."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from tornado.web import RequestHandler

from invoicing.errors import ShopError, UnavailableError
from invoicing.store import Store

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class Request(RequestHandler):
    """Someone asks this tenant's shop something."""

    @property
    def store(self) -> Store:
        store: Store = self.settings["store"]
        return store

    def set_default_headers(self) -> None:
        self.set_header(
            "Content-Security-Policy", "default-src 'self'; form-action 'self'; frame-ancestors 'none'"
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the store in a thread, so that nobody else's request waits for the database."""
        pool: Executor = self.settings["pool"]
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: question(*args, **kwargs))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """What a person can correct is no news for the log; a lost database is one line."""
        if isinstance(value, UnavailableError):
            log.warning("%s %s: %s", self.request.method, self.request.path, value.__cause__)
        elif not isinstance(value, ShopError):
            super().log_exception(typ, value, tb)

    def say_what_is_wrong(self, status: int, **kwargs: Any) -> str:
        """Set the status of a failed request and give its reason, for the person who made it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ShopError):
            self.set_status(error.status)
            return str(error)
        return getattr(error, "log_message", None) or HTTPStatus(status).phrase
