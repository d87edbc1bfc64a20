"""mkdir and tenant.toml to the first answer, one tenant at a time; `density` adds a thousand at once."""

import statistics
import time

from tests.bench.product import running
from tests.bench.table import Row

ONE_BY_ONE = 20


def run() -> list[Row]:
    with running() as product:
        product.add("first")
        product.pid("first")  # the fork server is there
        took = []
        for number in range(ONE_BY_ONE):
            begin = time.perf_counter()
            product.add(f"single-{number}")
            product.pid(f"single-{number}")
            took.append(1e3 * (time.perf_counter() - begin))
    return [
        Row("mkdir and tenant.toml to first 200, median", statistics.median(took), "ms", "below 150"),
        Row("mkdir and tenant.toml to first 200, slowest", max(took), "ms"),
    ]
