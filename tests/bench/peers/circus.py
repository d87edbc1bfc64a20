"""circus, with its watchdog plugin."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.bench.peers.peer import Mode, Peer, daemon, pip_install, version_of
from tests.harness import free_port

DAEMON = """
[circus]
endpoint = ipc://{directory}/endpoint
pubsub_endpoint = ipc://{directory}/pubsub
"""

BEST = "check_delay = 0.1\n"

CHECK = """
[plugin:watchdog]
use = circus.plugins.watchdog.WatchDog
loop_rate = 0.3
max_count = 3
watchers_regex = tenant
port = {beats}
"""

WATCHER = """
[watcher:tenant-{port}]
cmd = {command}
copy_env = True
"""

HELD = """
use_sockets = True
max_retry = -1

[socket:port-{port}]
host = 127.0.0.1
port = {port}
backlog = 4096
"""


class Circus(Peer):
    name = "circus"
    best = "check_delay 0.1, its sockets"
    checks = "watchdog plugin, 3 x 0.3 s"

    def install(self) -> str:
        self._programs = pip_install(self.directory / "venv", "circus")
        return version_of(self._programs, "circus")

    @contextmanager
    def running(self, ports: Sequence[int], mode: Mode) -> Iterator[list[int]]:
        beats = [free_port()] if mode is Mode.CHECKED else []
        text = DAEMON.format(directory=self.directory)
        text += "" if mode is Mode.DEFAULT else BEST
        text += "".join(CHECK.format(beats=port) for port in beats)
        for port in ports:
            held = mode is not Mode.DEFAULT
            where = ("descriptor", f"$(circus.sockets.port-{port})") if held else ("port", port)
            text += WATCHER.format(port=port, command=" ".join(self.tenant(*where, *beats)))
            text += HELD.format(port=port) if held else ""
        file = self.directory / "circus.ini"
        file.write_text(text)
        with daemon(self.directory, str(self._programs / "circusd"), str(file)) as manager:
            yield [manager.pid]
