"""supervisor, with superlance's httpok."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.bench.peers.peer import Mode, Peer, daemon, pip_install, version_of

DAEMON = """
[supervisord]
nodaemon = true
user = root
logfile = {directory}/supervisord.log
pidfile = {directory}/supervisord.pid
childlogdir = {directory}

[unix_http_server]
file = {directory}/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

PROGRAM = """
[program:tenant-{port}]
command = {command}
"""

BEST = """
autorestart = true
startsecs = 0
startretries = 1000000
"""

CHECK = """
[eventlistener:httpok-{port}]
command = {httpok} -p tenant-{port} -t 1 http://127.0.0.1:{port}/healthz
events = TICK_5
priority = 2000
"""


class Supervisor(Peer):
    name = "supervisor"
    best = "startsecs 0"
    checks = "httpok a tenant, -t 1, every 5 s"

    def install(self) -> str:
        self._programs = pip_install(self.directory / "venv", "supervisor", "superlance")
        return version_of(self._programs, "supervisor")

    @contextmanager
    def running(self, ports: Sequence[int], mode: Mode) -> Iterator[list[int]]:
        text = DAEMON.format(directory=self.directory)
        for port in ports:
            text += PROGRAM.format(port=port, command=" ".join(self.tenant("port", port)))
            text += "" if mode is Mode.DEFAULT else BEST
            if mode is Mode.CHECKED:
                text += CHECK.format(port=port, httpok=self._programs / "httpok")
        file = self.directory / "supervisord.conf"
        file.write_text(text)
        program = str(self._programs / "supervisord")
        with daemon(self.directory, program, "-c", str(file)) as manager:
            yield [manager.pid]
