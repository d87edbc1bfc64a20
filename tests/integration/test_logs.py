import asyncio
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from bus import log_files
from bus.log_reader import Lines, Log
from bus.settings import Settings, load
from services.reactor import logs
from services.reactor.log_cut import DRAFT, CutLog
from services.reactor.logs import LogKeeper
from tests.harness import DEADLINE, Program, eventually, eventually_async

HERE = Path(__file__).parent
MB = 1 << 20


@pytest.fixture
def settings(short_dir: Path) -> Settings:
    return settings_in(short_dir)


def settings_in(directory: Path, **logs: int) -> Settings:
    config = directory / "tenantbus.toml"
    chosen = {"max_mb": 1, "keep_mb": 100, **logs}
    config.write_text("[logs]\n" + "".join(f"{key} = {value}\n" for key, value in chosen.items()))
    (directory / "tenants" / "acme" / "log").mkdir(parents=True)
    return load(config)


def log_of(settings: Settings, tenant: str = "acme") -> Path:
    return settings.tenants_dir / tenant / "log"


@contextmanager
def writer(settings: Settings, lines: int, per_second: int = 0) -> Iterator[Program]:
    file = log_of(settings) / log_files.LIVE
    script = str(HERE / "log_writer.py")
    with Program(
        sys.executable, script, str(file), str(lines), str(per_second), cwd=settings.root
    ) as program:
        yield program


def keeper(settings: Settings, *options: str) -> Program:
    script = str(HERE / "log_keeper.py")
    environment = {"PYTHONPATH": str(HERE.parents[1])}
    return Program(sys.executable, script, settings.file, *options, cwd=settings.root, env=environment)


def numbers(lines: list[bytes]) -> list[int]:
    """Give the numbers of lines, each of which must be as it was written."""
    found = []
    for line in lines:
        number, _, rest = line.partition(b" ")
        assert rest == b"x" * (int(number) % 150), line
        found.append(int(number))
    return found


def read(directory: Path) -> list[bytes]:
    reading = Lines(Log(directory), 0)
    found: list[bytes] = []
    while (lines := reading.read()) is not None:
        found += lines
    return found


def wrote(directory: Path, size: int) -> bool:
    live = directory / log_files.LIVE
    return live.exists() and Log(directory).end() > size


@pytest.mark.parametrize("method", ["collapse", "punch"])
def test_killed_keepers_lose_and_double_nothing(settings: Settings, method: str) -> None:
    lines = 600_000
    options = ["punch"] if method == "punch" else []
    chance = random.Random(4)
    kills = 0
    with writer(settings, lines, 80_000) as program:
        while program.process.poll() is None:
            with keeper(settings, *options) as kept:
                time.sleep(chance.uniform(0.15, 0.5))
                kept.kill()
                kills += 1
                assert "Traceback" not in kept.output
    with keeper(settings, *options):  # the last one finishes what the one before it began
        eventually(lambda: (log_of(settings) / log_files.LIVE).stat().st_blocks * 512 < 2 * MB)
        assert numbers(read(log_of(settings))) == list(range(lines))
    assert kills > 5
    assert len(log_files.pieces(log_of(settings))) > 10
    assert float(program.output) < 5.0  # the tenant was never kept waiting for one of ours


@pytest.mark.parametrize("method", ["collapse", "punch"])
def test_follow_sees_each_line_once(settings: Settings, method: str, tmp_path: Path) -> None:
    lines = 200_000
    seen = tmp_path / "seen"
    bus = [sys.executable, "-c", "from cli.main import main; main()"]
    command = [*bus, "logs", "acme", "-f", "--since", "1h", "-c", settings.file]
    options = ["punch"] if method == "punch" else []
    environment = {"PYTHONPATH": str(HERE.parents[1])}
    with (
        Program(*command, cwd=settings.root, log=seen, env=environment) as follower,
        keeper(settings, *options),
        writer(settings, lines, 60_000) as program,
    ):
        program.process.wait(DEADLINE)
        eventually(lambda: seen.read_bytes().endswith(b"\n") and newest(seen) == lines - 1)
        assert follower.process.poll() is None
    assert numbers(seen.read_bytes().splitlines()) == list(range(lines))
    assert len(log_files.pieces(log_of(settings))) > 5


@pytest.mark.parametrize("method", ["collapse", "punch"])
def test_a_reader_who_is_overtaken_sees_whole_lines(short_dir: Path, method: str) -> None:
    settings = settings_in(short_dir, keep_mb=2)
    lines = 500_000
    options = ["punch"] if method == "punch" else []
    found: list[bytes] = []
    with keeper(settings, *options), writer(settings, lines, 150_000) as program:
        reading = Lines(Log(log_of(settings)), 0)
        while program.process.poll() is None:
            found += reading.read() or []
            time.sleep(0.03)
        while (more := reading.read()) is not None:
            found += more
    told = [line for line in found if not line.startswith(b"tenantbus: ")]
    seen = [int(line.partition(b" ")[0]) for line in told if is_whole(line)]
    assert seen == sorted(set(seen))
    assert seen[0] == 0
    assert seen[-1] == lines - 1
    assert len(seen) < lines  # it was overtaken
    torn = len(told) - len(seen)
    assert torn <= sum(before + 1 != after for before, after in pairwise(seen))


def is_whole(line: bytes) -> bool:
    number, _, rest = line.partition(b" ")
    return number.isdigit() and rest == b"x" * (int(number) % 150)


def newest(file: Path) -> int:
    return int(file.read_bytes().rstrip(b"\n").rpartition(b"\n")[2].partition(b" ")[0])


def test_a_flood_is_brought_below_the_cap(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_in(short_dir, keep_mb=5)
    with writer(settings, 400_000) as program:
        assert program.process.wait(DEADLINE) == 0
    written = Log(log_of(settings)).end()
    assert written > 20 * MB
    kept = LogKeeper(settings)
    kept.sweep()
    assert used(log_of(settings)) <= 5 * MB
    lines = read(log_of(settings))
    (said,) = (line for line in lines if line.startswith(b"tenantbus: "))
    place = lines.index(said)
    assert numbers(lines[:place]) == list(range(place))
    rest = numbers(lines[place + 1 :])
    assert rest == list(range(400_000 - len(rest), 400_000))
    assert sum(len(line) + 1 for line in lines[place + 1 :]) > 3.5 * MB
    assert f"{said.split()[1].decode()} bytes of its log were dropped" in caplog.text


FLOOD = """
import sys, time
with open(sys.argv[1], "ab", 0) as log:
    while True:  # about 100 MB/s: the keeper can follow that on any machine
        log.write(b"flood\\n" * 170_000)
        time.sleep(0.01)
"""


def test_a_flood_is_noticed_by_the_room_on_the_disk(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SWEEP", 3600.0)
    settings = settings_in(short_dir, keep_mb=5)
    kept = LogKeeper(settings)

    async def keep() -> None:
        keeping = asyncio.create_task(kept.run())
        await eventually_async(lambda: kept._room)
        file = str(log_of(settings) / log_files.LIVE)
        flood = await asyncio.create_subprocess_exec(sys.executable, "-c", FLOOD, file)
        try:
            await eventually_async(lambda: wrote(log_of(settings), 50 * MB))
            await eventually_async(lambda: kept._hot)
            await eventually_async(lambda: used(log_of(settings)) < 25 * MB)
        finally:
            flood.kill()
            await flood.wait()
        await eventually_async(lambda: used(log_of(settings)) <= 5 * MB)
        keeping.cancel()

    asyncio.run(keep())


def used(directory: Path) -> int:
    names = [log_files.LIVE, *(piece.name for piece in log_files.pieces(directory))]
    return sum((directory / name).stat().st_blocks * 512 for name in names)


def test_the_cap_of_all_takes_from_the_largest(short_dir: Path) -> None:
    settings = settings_in(short_dir, keep_mb=100, total_mb=8)
    for tenant, size in (("acme", 9.5), ("small", 1.5), ("tiny", 0.5)):
        directory = log_of(settings, tenant)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / log_files.LIVE).write_bytes(int(size * MB / 64) * (b"x" * 63 + b"\n"))
    LogKeeper(settings).sweep()
    assert sum(used(log_of(settings, tenant)) for tenant in ("acme", "small", "tiny")) <= 8 * MB
    for tenant, size in (("small", 1.5), ("tiny", 0.5)):
        assert len(read(log_of(settings, tenant))) == size * MB / 64


def test_what_is_too_old_goes(settings: Settings) -> None:
    directory = log_of(settings)
    live = directory / log_files.LIVE
    live.write_bytes(1000 * (b"o" * 63 + b"\n"))
    long_ago = time.time() - 15 * 86_400
    log_files.replace(directory / log_files.INDEX, log_files.write_marks([log_files.Mark(long_ago, 64_000)]))
    with live.open("ab") as file:
        file.write(1000 * (b"n" * 63 + b"\n"))
    LogKeeper(settings).sweep()
    lines = read(directory)
    assert len([line for line in lines if line.startswith(b"o")]) <= 4096 / 64
    assert len([line for line in lines if line.startswith(b"n")]) == 1000


def test_one_bad_log_concerns_no_other(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    bad = log_of(settings, "bad")
    bad.mkdir(parents=True)
    (bad / log_files.LIVE).symlink_to("/etc/passwd")
    (settings.tenants_dir / "none").mkdir()
    (settings.tenants_dir / "file").touch()
    (log_of(settings) / log_files.LIVE).write_bytes(3 * MB * b"x")
    caplog.set_level(logging.WARNING)
    kept = LogKeeper(settings)
    kept.sweep()
    kept.sweep()
    assert len(log_files.pieces(log_of(settings))) == 2
    assert len([record for record in caplog.records if "bad" in record.message]) == 1


@pytest.mark.parametrize("work", [CutLog.cut, CutLog.skip])
def test_what_cannot_be_cut_leaves_no_descriptor_open(
    settings: Settings, work: Callable[[CutLog, int, float], object]
) -> None:
    directory = log_of(settings)
    (directory / log_files.LIVE).write_bytes(MB * b"x")
    known = CutLog(directory)
    (directory / DRAFT).mkdir()  # as is any disk on which no file can be made
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(IsADirectoryError):
        work(known, known.block, 0.0)
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_tenant_that_is_removed_is_forgotten(settings: Settings) -> None:
    directory = log_of(settings)
    (directory / log_files.LIVE).write_bytes(b"x\n")
    kept = LogKeeper(settings)
    kept.sweep()
    directory.rename(directory.with_name("away"))
    kept.sweep()
    directory.with_name("away").rename(directory)
    (directory / log_files.LIVE).write_bytes(3 * MB * b"x")
    kept.sweep()
    assert len(log_files.pieces(directory)) == 2


def bus(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main())"]
    return subprocess.run(
        [*command, "logs", *arguments, "-c", settings.file],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        check=False,
    )


def test_command_shows_the_last_lines(settings: Settings) -> None:
    live = log_of(settings) / log_files.LIVE
    live.write_text("".join(f"line {number}\n" for number in range(30_000)) + "unfinished")
    shown = bus(settings, "acme").stdout.splitlines()
    assert shown == [*(f"line {number}" for number in range(29_901, 30_000)), "unfinished"]
    assert bus(settings, "acme", "--lines", "1").stdout == "unfinished\n"
    matching = bus(settings, "acme", "--grep", "^line [0-9]{1,2}7$", "--lines", "3").stdout
    assert matching == "line 977\nline 987\nline 997\n"


def test_command_shows_what_came_since(settings: Settings) -> None:
    directory = log_of(settings)
    (directory / log_files.LIVE).write_text("old\n")
    log_files.replace(
        directory / log_files.INDEX, log_files.write_marks([log_files.Mark(time.time() - 60, 4)])
    )
    with (directory / log_files.LIVE).open("a") as file:
        file.write("new\n")
    assert bus(settings, "acme", "--since", "30s").stdout == "new\n"
    assert bus(settings, "acme", "--since", "2m").stdout == "old\nnew\n"


def test_command_says_what_is_wrong(settings: Settings) -> None:
    unknown = bus(settings, "acne")
    assert (unknown.returncode, unknown.stderr) == (1, "bus: there is no tenant 'acne'; did you mean acme?\n")
    silent = bus(settings, "acme")
    assert (silent.returncode, silent.stderr) == (0, "acme has not printed anything yet\n")
    assert "is no time ago" in bus(settings, "acme", "--since", "soon").stderr
    assert "is no regular expression" in bus(settings, "acme", "--grep", "(").stderr
