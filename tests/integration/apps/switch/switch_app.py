"""An application that takes another database in place, or does not, as its settings say."""

import asyncio
import os
from typing import Any

from tornado.web import Application, RequestHandler


class Url(RequestHandler):
    def get(self) -> None:
        self.write("\n".join([str(os.getpid()), self.settings["url"], os.environ["DATABASE_URL"]]))


def make_app(tenant: Any) -> Application:
    application = Application([("/", Url)], url=tenant.database_url)

    async def change(url: str) -> None:
        assert url == tenant.database_url
        how = tenant.settings.get("HOW")
        if how == "raise":
            raise RuntimeError(url)
        if how == "hang":
            await asyncio.sleep(3600)
        if how == "late":
            await asyncio.sleep(0.8)
        application.settings["url"] = url

    if tenant.settings.get("HOW") != "none":
        tenant.on_database_change(change)
    return application
