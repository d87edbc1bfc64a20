"""What happens next with a tenant, and what a person can do: pure."""

from bus import words
from cli.span import duration
from cli.view import TenantRow


def advise(row: TenantRow, retry_in: float, *, invalid: bool = False, held: bool = False) -> list[str]:
    """Give the lines that follow the chain of causes; `retry_in` in seconds.

    `invalid` tells that its newest settings cannot be used, `held` that it was among those that did not work
    when the brake came on.
    """
    match row.state:
        case "RUNNING" if held:
            return [
                "It was one of many that did not work at once: the brake is on, they are ended one by one.",
                "`bus dispatcher` shows whom it suspects still; `bus dispatcher --release` ends all of them.",
            ]
        case "RUNNING" if invalid:
            return ["It serves, on its last good settings, until that is corrected."]
        case "RUNNING" | "STARTING" | "STOPPING" | "EXITED" | "STUCK":
            return _alive(row)
        case "BACKOFF":
            return [
                f"It is started again in {duration(retry_in)}; `bus restart {row.tenant}` does so at once."
                if retry_in
                else "It is being started again.",
            ]
        case "FATAL":
            return [
                "It failed too often, or said that it can never start."
                + (f" Next try in {duration(retry_in)}." if retry_in else " It is being tried again."),
                f"When that is put right: `bus start {row.tenant}`",
            ]
        case "WAITING" | "SLEEPING" | "STOPPED" | "INVALID":
            return _at_rest(row)
        case _:
            return [
                "It waits for its turn, or for its release to be imported.",
                "If that takes long: does the reactor run? See `bus services`.",
            ]


def _at_rest(row: TenantRow) -> list[str]:
    match row.state:
        case "WAITING":
            return ["It starts as soon as what it waits for is there: see `bus db` and `bus check`."]
        case "SLEEPING":
            return [f"Its first visitor starts it; so does `bus start {row.tenant}`."]
        case "INVALID":
            return ["Correct that file, and it starts by itself."]
        case _ if row.reason == words.ALL_STOP:
            return ["It is started when the reactor is: see `bus services`."]
        case _:
            return [f"It stays stopped. To start it: `bus start {row.tenant}`"]


def _alive(row: TenantRow) -> list[str]:
    match row.state:
        case "RUNNING" if row.reason:
            return ["It serves, as it did before, until that is over or put right."]
        case "RUNNING":
            return ["It serves. Nothing to do."]
        case "STARTING":
            return [f"It is starting. If that takes long: `bus logs {row.tenant} -f` shows what it says."]
        case "STUCK":
            return [
                "The reactor ends it and starts it again. If that happens often, look for code that blocks."
            ]
        case _:
            return ["It is on its way to its end, or to a new start: ask again in a moment."]
