"""Everything that can die does, in any order and any combination, under load: `make chaos`.

CHAOS_SECONDS says for how long (120), CHAOS_SEED repeats the acts of a run, though not their moments.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.harness import eventually
from tests.system.deployment import Deployment
from tests.system.visiting import Visitor

SECONDS = float(os.environ.get("CHAOS_SECONDS", "120"))
SEED = os.environ.get("CHAOS_SEED") or str(random.randrange(10**6))

APPLICATION = """
import asyncio
import os
from tornado.web import Application, RequestHandler


class Pid(RequestHandler):
    def get(self):
        self.write(str(os.getpid()))


async def make_app(tenant):
    await asyncio.sleep(float(os.environ.get("HESITATES", "0")))
    return Application([("/.*", Pid)])
"""

SPARED = ("spared-1", "spared-2")
"""Nobody kills these, who are replaced again and again: not one of their visitors fails."""
SHOT = ("shot-1", "shot-2", "shot-3")
"""These are killed, started, stopped."""
SERVICES = ("broker", "pathwatch", "dbwatch", "dispatcher", "reactor")

pytestmark = pytest.mark.timeout(SECONDS + 300)


@pytest.fixture
def running() -> Iterator[Deployment]:
    with Deployment.made() as deployment:
        release = deployment.directory / "packages" / "shop" / "1.0"
        release.mkdir(parents=True)
        (release / "shop.py").write_text(APPLICATION)
        (release / "package.toml").write_text('entry = "shop:make_app"\n')
        with deployment.config.open("a") as config:
            config.write("\n[restart]\nbackoff = 0.1\nbackoff_max = 0.5\nfatal_after = 1000\n")
        shutil.rmtree(deployment.directory / "tenants" / "first")
        deployment.start()
        deployment.add(*SPARED, *SHOT, text='package = "shop"\n')
        deployment.ready(*SPARED, *SHOT)
        yield deployment


class Chaos:
    """Does one thing after the other, and knows what should come of it all."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.chance = random.Random(SEED)
        self.wanted = set(SHOT)
        self.done: list[str] = []
        self.acts: tuple[Callable[[], str], ...] = (
            self.kill_services,
            self.kill_services,
            self.kill_fork_servers,
            self.kill_fork_servers_and_services,
            self.kill_tenants,
            self.kill_tenants,
            self.kill_all_but_the_spared,
            self.change,
            self.change,
            self.restart,
            self.stop_or_start,
            self.suspend_a_service,
            self.kill_bus_up,
        )

    def act(self) -> None:
        self.done.append(self.chance.choice(self.acts)())

    def some_services(self) -> list[int]:
        rows = self.deployment.services()
        chosen = self.chance.sample(SERVICES, self.chance.randint(1, len(SERVICES)))
        return [row["pid"] for name, row in rows.items() if name in chosen and row["pid"]]

    def kill(self, *pids: int) -> None:
        for pid in self.chance.sample(pids, len(pids)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_services(self) -> str:
        self.kill(*self.some_services())
        return "services killed"

    def kill_fork_servers(self) -> str:
        self.kill(*self.deployment.fork_servers())
        return "fork servers killed"

    def kill_fork_servers_and_services(self) -> str:
        self.kill(*self.deployment.fork_servers(), *self.some_services())
        return "fork servers and services killed"

    def shot(self) -> list[int]:
        chosen = self.chance.sample(SHOT, self.chance.randint(1, len(SHOT)))
        return [pid for tenant in chosen for pid in self.deployment.processes(tenant)]

    def kill_tenants(self) -> str:
        self.kill(*self.shot())
        return "tenants killed"

    def kill_all_but_the_spared(self) -> str:
        self.kill(*self.shot(), *self.deployment.fork_servers(), *self.some_services())
        return "tenants, fork servers and services killed"

    def change(self) -> str:
        tenant = self.chance.choice((*SPARED, *SHOT))
        file = self.deployment.directory / "tenants" / tenant / "tenant.toml"
        draft = file.with_name("tenant.new")
        hesitates = self.chance.choice((0, 0, 0.3, 1.5))
        env = f'[env]\nHESITATES = "{hesitates}"\nN = "{len(self.done)}"\n'
        draft.write_text(f'package = "shop"\n{env}')
        draft.replace(file)
        return f"{tenant} changed"

    def restart(self) -> str:
        self.request("restart", *SPARED, *self.wanted)
        return "all restarted"

    def stop_or_start(self) -> str:
        tenant = self.chance.choice(SHOT)
        verb = "stop" if tenant in self.wanted else "start"
        if self.request(verb, tenant):
            self.wanted ^= {tenant}
        return f"{verb} {tenant}"

    def request(self, *arguments: str) -> bool:
        """Ask for something; False when there is no broker just now."""
        return bool(self.deployment.bus(*arguments, "--no-wait", code=None))

    def suspend_a_service(self) -> str:
        pid = self.chance.choice(self.some_services() or [0])
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(1.0)
                os.kill(pid, signal.SIGCONT)
        return "a service suspended"

    def kill_bus_up(self) -> str:
        assert self.deployment.up
        self.deployment.up.kill()
        self.deployment.start()
        return "bus up killed"

    def calm(self) -> None:
        """Wait until all is as it should be: every wanted tenant has one process, the others have none."""

        def look() -> bool:
            if set(self.deployment.states().values()) != {"RUNNING"}:
                return False
            rows = self.deployment.ps()
            pids = {name: row["pid"] for name, row in rows.items() if row["state"] == "RUNNING"}
            processes = {name: self.deployment.processes(name) for name in rows}
            alone = {name: [pids[name]] if name in pids else [] for name in rows}
            answer = all(self.deployment.get(name) == 200 for name in pids)
            return answer and set(pids) == {*SPARED, *self.wanted} and processes == alone

        eventually(look, within=60.0, every=0.3)
        assert len(self.deployment.fork_servers()) <= 1


def test_chaos(running: Deployment) -> None:
    print(f"CHAOS_SEED={SEED}")
    chaos = Chaos(running)
    end = time.monotonic() + SECONDS
    with ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(running, tenant)) for tenant in SPARED]
        try:
            while time.monotonic() < end:
                for _ in range(chaos.chance.randint(1, 4)):
                    chaos.act()
                    time.sleep(chaos.chance.choice((0.0, 0.0, 0.05, 0.5)))
                chaos.calm()
                assert [visitor.failures for visitor in visitors] == [[], []]
        except BaseException:
            print(*chaos.done[-12:], sep="\n")
            print(running.bus("ps", code=None))
            print((running.directory / "up.log").read_text(errors="replace")[-20000:])
            raise
    print(f"{len(chaos.done)} acts, {sum(visitor.answers for visitor in visitors)} visits, none failed")
