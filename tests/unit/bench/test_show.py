import pytest

from tests.bench.peers import show
from tests.bench.peers.measure import Figures
from tests.bench.peers.pm2 import Pm2
from tests.bench.peers.show import Measured
from tests.bench.peers.supervisor import Supervisor
from tests.bench.peers.tenantbus import Tenantbus

OURS = Measured(Tenantbus, "tenantbus 1", Figures(10.0, 20.0, 11.0, 0, 0.5, 5.0, 100.0, 0.5, 1.05))


def test_each_figure_has_its_ratio_to_ours() -> None:
    theirs = Figures(1_000.0, 2_000.0, 1_100.0, 220, 5.0, 16.5, 50.0, 0.25, None)
    head, ours, line = show.lines([OURS, Measured(Pm2, "PM2 7", theirs)])
    assert len(head) == len(ours) == len(line)
    assert ours[head.index("kill -9 to next 200, ms")] == "10.0"
    assert line[1] == "1,000 (100x)"
    assert line[head.index("failed at 200/s")] == "220"
    assert line[-1] == "never"


def test_what_could_not_be_measured_says_why() -> None:
    missing = Measured(Supervisor, "supervisor", "there is no network")
    lines = show.lines([OURS, missing])
    assert lines[-1][:2] == ("supervisor", "not measured: there is no network")
    assert "supervisor:" not in show.markdown([OURS, missing])


def test_nothing_can_be_compared_without_ours() -> None:
    with pytest.raises(AssertionError, match="it is broken"):
        show.lines([Measured(Tenantbus, "tenantbus", "it is broken")])
