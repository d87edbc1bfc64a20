"""A tenant as far as its log is concerned: numbered lines on an append-only descriptor, all it knows of us.

log_writer.py FILE LINES [PER_SECOND]: says at the end how long its slowest write took, in seconds.
"""

import os
import sys
import time

BATCH = 200


def main(file: str, count: int, per_second: float) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    begun, slowest = time.monotonic(), 0.0
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        data = b"".join(b"%d %b\n" % (number, b"x" * (number % 150)) for number in numbers)
        if per_second:
            time.sleep(max(0.0, begun + first / per_second - time.monotonic()))
        before = time.monotonic()
        # in one write a line is never torn; cut in two, as by a full pipe, it must be put together again
        middle = len(data) // 2
        os.write(descriptor, data[:middle])
        os.write(descriptor, data[middle:])
        slowest = max(slowest, time.monotonic() - before)
    print(f"{slowest:.4f}")


main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if sys.argv[3:] else 0.0)
