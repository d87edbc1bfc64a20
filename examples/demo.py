"""The demo: three tenants, their databases and all services in the foreground, until Ctrl-C.

`make run-all` runs it. Databases and services end with it, also when it is killed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bus import ports as port_files
from bus import settings as settings_file
from bus.errors import BusError
from bus.settings import Settings
from examples import prepare
from examples.front import Front, FrontError
from examples.mariadb import InstanceError, MariaDb
from examples.pair import Pair, listeners
from examples.prepare import Ports

BUS = Path(sys.executable).with_name("bus")

PATIENCE = 60.0
"""Seconds after which a tenant that does not answer is named instead of waited for."""

HINTS = """
Try, in another terminal:
  what runs where             {bus} ps
  how that came about         {bus} why acme
  a crash; reload its page    kill -9 $(cat {var}/tenants/acme/run/pid)
  a service is restarted      make restart-dbwatch
  one more tenant             mkdir {var}/tenants/umbrella
                              echo 'package = "invoicing"' > {var}/tenants/umbrella/tenant.toml
"""

DATABASE_HINTS = """\
  a database hangs            kill -STOP $(cat {var}/mariadb/db1/pid)
                              its tenants move to db2; kill -CONT ends that, and
                              what kill -9 ended is started again after a while
"""


def main() -> int:
    root, ports, http_port, mariadb = _arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        settings = _lay_out(root, ports, mariadb=mariadb)
        pair = Pair(settings.state_dir / "mariadb", ports.databases, _say) if mariadb else None
        databases = pair.running() if pair else nullcontext()
        with databases, _front(settings, http_port) as front, _services(settings) as services:
            return _watch(settings, services, pair, front)
    except KeyboardInterrupt:
        return 0
    except (BusError, InstanceError, prepare.ForeignFileError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1


def _arguments() -> tuple[Path, Ports, int, bool]:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="where tenantbus.toml and var/ go")
    parser.add_argument("--sqlite", action="store_true", help="use SQLite although there is MariaDB")
    parser.add_argument("--first-port", type=int, default=prepare.DEFAULT_PORTS.tenants[0])
    parser.add_argument("--database-port", type=int, default=prepare.DEFAULT_PORTS.databases[0])
    parser.add_argument("--http-port", type=int, default=8080, help="where nginx listens")
    given = parser.parse_args()
    first = given.first_port
    ports = Ports(range(first, first + 99), (given.database_port, given.database_port + 1))
    return given.root.resolve(), ports, given.http_port, MariaDb.available() and not given.sqlite


def _lay_out(root: Path, ports: Ports, *, mariadb: bool) -> Settings:
    settings = settings_file.load(prepare.write_settings(root, ports, mariadb=mariadb))
    settings.prepare()
    prepare.write_tenants(settings.tenants_dir)
    if not mariadb:
        _say("No MariaDB here: the tenants use an SQLite file, var/invoicing.db.")
    owners = port_files.owners(settings.tenants_dir)
    for port, who in listeners(set(ports.tenants)).items():
        owner = owners.get(port)
        if owner is None:
            _say(f"Port {port} is in use by {who}; tenants get others.")
        elif not who.startswith(f"{owner} ("):  # it may run still: then it is taken back
            _say(f"Port {port} is that of {owner}, and in use by {who}: {owner} cannot be started.")
    return settings


@contextmanager
def _front(settings: Settings, port: int) -> Iterator[Front | None]:
    """nginx, as long as the block runs; None where there is none, or its port is taken."""
    if not Front.available():
        _say("No nginx here (Debian: nginx-light): the tenants answer on ports of their own only.")
        yield None
        return
    front = Front(settings.state_dir / "nginx", settings.run_dir / "http", port)
    with ExitStack() as stack:
        try:
            stack.enter_context(front.running())
        except FrontError as error:
            _say(f"{error}; the tenants answer on ports of their own only.")
            yield None
        else:
            yield front


@contextmanager
def _services(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """`bus up`, as long as the block runs."""
    setpriv = shutil.which("setpriv")
    services = subprocess.Popen(
        [*([setpriv, "--pdeathsig=INT", "--"] if setpriv else []), BUS, "up"],
        cwd=settings.root,
        env={**os.environ, "TENANTBUS_CONFIG": settings.file},
        start_new_session=True,  # a Ctrl-C is for us: services stop before their databases do
    )
    try:
        yield services
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _stop(services)


def _stop(services: subprocess.Popen[bytes]) -> None:
    services.send_signal(signal.SIGINT)
    try:
        services.wait(60)
    except subprocess.TimeoutExpired:
        services.kill()
        services.wait()


def _watch(
    settings: Settings, services: subprocess.Popen[bytes], pair: Pair | None, front: Front | None
) -> int:
    """Tell what there is once it answers, and keep the databases going; gives the exit code of `bus up`."""
    tenants = sorted(file.parent.name for file in settings.tenants_dir.glob("*/tenant.toml"))
    patient_until = time.monotonic() + PATIENCE
    told = False
    while services.poll() is None:
        if not told:
            serving = {name: _serving(settings, front, name) for name in tenants}
            ways = 2 if front else 1
            if all(len(urls) == ways for urls in serving.values()) or time.monotonic() > patient_until:
                _tell(settings, tenants, serving, mariadb=pair is not None)
                told = True
        if pair:
            pair.revive()
        if front:
            _revive(front)
        time.sleep(0.2)
    if services.returncode < 0:
        _say(
            f"`bus up` was ended by {signal.Signals(-services.returncode).name}."
            " Tenants run on; `make run-all` takes them back, its Ctrl-C stops them."
        )
        return 1
    return services.returncode


def _revive(front: Front) -> None:
    """Start nginx again if somebody killed it; once it fails, that is said and left alone."""
    try:
        front.revive()
    except FrontError as error:
        _say(str(error))


def _serving(settings: Settings, front: Front | None, tenant: str) -> list[str]:
    """Give the URLs at which a tenant's own page comes, the one through nginx first."""
    hosts = [(f"{tenant}.localhost", front.port)] if front else []
    with suppress(OSError, ValueError):
        hosts.append(("127.0.0.1", int((settings.tenants_dir / tenant / "run" / "port").read_text())))
    return [f"http://{host}:{port}/" for host, port in hosts if _shows(tenant, f"{host}:{port}", port)]


def _shows(tenant: str, host: str, port: int) -> bool:
    """Tell whether it is the tenant's own page that comes, with 200."""
    with (
        suppress(OSError, HTTPException),
        closing(HTTPConnection("127.0.0.1", port, timeout=2)) as connection,
    ):
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        return f"<b>{tenant}</b>".encode() in answer.read() and answer.status == HTTPStatus.OK
    return False


def _tell(settings: Settings, tenants: list[str], serving: Mapping[str, list[str]], *, mariadb: bool) -> None:
    bus = os.path.relpath(BUS)
    urls = [
        f"  {name:<12} " + ("   ".join(serving[name]) or f"does not answer: see {bus} why {name}")
        for name in tenants
    ]
    hints = HINTS + (DATABASE_HINTS if mariadb else "")
    _say(
        "\n".join(
            [
                "",
                "The tenants, each a process of its own:",
                *urls,
                hints.format(bus=bus, var=os.path.relpath(settings.state_dir)),
                "Ctrl-C stops everything.",
                "",
            ]
        )
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
