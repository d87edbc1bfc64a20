"""A small tenant that keeps a score page: python -m tests.integration.scored_tenant PAGE SOCKET.

It answers GET /healthz, and does what other paths say: /block blocks its loop for ever, /block/1.5 for a
while, /spin burns the processor, /sick makes it answer 500, /well 200 again, /mute not at all.
"""

import asyncio
import json
import os
import selectors
import sys
import time
from pathlib import Path

from services.dispatcher.kernel import started
from services.score import Slot
from tests.integration.pages import ScorePage


class ScoredSelector(selectors.EpollSelector):
    """Says on the page whether the loop waits."""

    page: ScorePage

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.page[Slot.BUSY_SINCE] = 0
        ready = super().select(timeout)
        self.page[Slot.LOOPS] += 1
        self.page[Slot.BUSY_SINCE] = time.monotonic_ns()
        return ready


class Tenant:
    def __init__(self, page: ScorePage) -> None:
        self.page = page
        self.health = "200 OK"
        self.name = "acme"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).partition(b" ")[2].partition(b" ")[0].decode()
        _, verb, *rest = line.split("/")
        if verb == "block":
            time.sleep(float(rest[0]) if rest else 3600)  # noqa: ASYNC251 - a blocked loop is the point
        elif verb == "spin":
            while True:
                pass
        elif verb == "-":
            self.answer(writer, "200 OK", self.identity())
            return
        elif verb != "healthz":
            self.health = {"sick": "500 Internal Server Error", "well": "200 OK", "mute": ""}[verb]
        if self.health:
            self.answer(writer, self.health)
        else:
            await reader.read()

    def answer(self, writer: asyncio.StreamWriter, status: str, body: str = "") -> None:
        self.page[Slot.REQUESTS] += 1
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    def identity(self) -> str:
        return json.dumps({"tenant": self.name, "pid": os.getpid()})


async def main(tenant: Tenant, path: str) -> None:
    server = await asyncio.start_unix_server(tenant.serve, path)
    tenant.page[Slot.READY_AT] = time.monotonic_ns()
    await server.serve_forever()


if __name__ == "__main__":
    page = ScorePage(Path(sys.argv[1]), pid=os.getpid(), started=started(os.getpid()) or 0, ready=False)
    selector = ScoredSelector()
    selector.page = page
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(main(Tenant(page), sys.argv[2]))
