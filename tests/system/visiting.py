"""Customers who open new connections to tenants all the time, and note what goes wrong."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

from tests.harness import DEADLINE, eventually
from tests.system.deployment import Deployment


class Visitor(threading.Thread):
    """A customer who keeps opening new connections to one tenant, and notes what goes wrong."""

    def __init__(self, deployment: Deployment, tenant: str) -> None:
        super().__init__(daemon=True)
        self.deployment, self.tenant = deployment, tenant
        self.done = threading.Event()
        self.answers = 0
        self.failures: list[object] = []

    def run(self) -> None:
        while not self.done.wait(0.01):
            try:
                status = self.deployment.get(self.tenant)
            except OSError as error:
                self.failures.append(error)
            else:
                self.answers += 1
                if status != 200:
                    self.failures.append(status)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join(DEADLINE)


@contextmanager
def undisturbed(deployment: Deployment, *tenants: str) -> Iterator[None]:
    """Have visitors at these tenants while the block runs: none fails, and the last is answered."""
    with ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(deployment, tenant)) for tenant in tenants]
        eventually(lambda: all(visitor.answers for visitor in visitors))
        yield
        answered = {visitor.tenant: visitor.answers for visitor in visitors}
        eventually(lambda: all(visitor.answers > answered[visitor.tenant] for visitor in visitors))
    assert {visitor.tenant: visitor.failures for visitor in visitors} == {tenant: [] for tenant in tenants}
