"""An application whose import starts a thread."""

import os
import threading
from typing import Any

from tornado.web import Application, RequestHandler

threading.Thread(target=threading.Event().wait, daemon=True).start()


class Pid(RequestHandler):
    def get(self) -> None:
        self.write(f"{os.getpid()} {threading.active_count()}")


def make_app(_tenant: Any) -> Application:
    return Application([("/", Pid)])
