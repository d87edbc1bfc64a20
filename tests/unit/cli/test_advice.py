import pytest

from cli.advice import advise
from cli.view import TenantRow


def advice(state: str, reason: str = "") -> str:
    row = TenantRow("acme", state, None, None, None, None, None, 0, reason)
    return " ".join(advise(row, 12.0))


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("RUNNING", "Nothing to do"),
        ("STARTING", "`bus logs acme -f`"),
        ("STOPPING", "ask again"),
        ("EXITED", "ask again"),
        ("BACKOFF", "in 12 s; `bus restart acme`"),
        ("FATAL", "`bus start acme`"),
        ("WAITING", "`bus db`"),
        ("STUCK", "ends it"),
        ("STOPPED", "`bus start acme`"),
        ("INVALID", "Correct that file"),
        ("UNKNOWN", "to be imported"),
    ],
)
def test_each_state_comes_with_what_can_be_done(state: str, hint: str) -> None:
    assert hint in advice(state)


def test_a_retry_that_is_due_is_no_retry_in_zero_seconds() -> None:
    row = TenantRow("acme", "FATAL", None, None, None, None, None, 0, "")
    for state in ("BACKOFF", "FATAL"):
        lines = " ".join(advise(row._replace(state=state), 0.0))
        assert "It is being" in lines
        assert "0 s" not in lines


def test_what_cannot_be_replaced_serves_on() -> None:
    assert "as it did before" in advice("RUNNING", "not replaced: no release of shop")


def test_what_runs_on_old_settings_says_so() -> None:
    row = TenantRow("acme", "RUNNING", None, None, None, None, None, 0, "tenant.toml:3: plan: no")
    assert "last good settings" in " ".join(advise(row, 0.0, invalid=True))


def test_whom_the_brake_holds_is_not_said_to_serve() -> None:
    row = TenantRow("acme", "RUNNING", None, None, None, None, None, 0, "")
    assert "`bus dispatcher --release`" in " ".join(advise(row, 0.0, held=True))


def test_what_was_stopped_with_everything_needs_no_start_by_hand() -> None:
    assert "bus start" not in advice("STOPPED", "tenantbus is being stopped")
