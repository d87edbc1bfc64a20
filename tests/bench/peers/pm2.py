"""PM2, out of npm's registry."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.bench.peers.peer import Mode, Peer, end_leftovers, install_with


class Pm2(Peer):
    name = "PM2"
    best = "autorestart without limits"
    checks = ""

    def install(self) -> str:
        prefix = self.directory / "npm"
        install_with("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(prefix), "pm2")
        self._program = str(prefix / "node_modules" / ".bin" / "pm2")
        self._home = self.directory / "pm2"
        about = json.loads((prefix / "node_modules" / "pm2" / "package.json").read_text())
        return str(about["version"])

    @contextmanager
    def running(self, ports: Sequence[int], mode: Mode) -> Iterator[list[int]]:
        best = {} if mode is Mode.DEFAULT else {"max_restarts": 1_000_000, "min_uptime": 0}
        applications = []
        for port in ports:
            interpreter, script, *arguments = self.tenant("port", port)
            name = {"name": f"tenant-{port}", "script": script, "interpreter": interpreter}
            applications.append({**name, "args": arguments, **best})
        file = self.directory / "ecosystem.json"
        file.write_text(json.dumps({"apps": applications}))
        try:
            self._pm2("start", str(file))
            yield [int((self._home / "pm2.pid").read_text())]
        finally:
            self._pm2("kill")
            end_leftovers(self.directory)

    def _pm2(self, *arguments: str) -> None:
        environ = {**os.environ, "PM2_HOME": str(self._home)}
        command = [self._program, *arguments, "--silent"]
        subprocess.run(command, env=environ, cwd=self.directory, check=True, capture_output=True)
