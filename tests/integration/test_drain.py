"""`bus db drain` and `bus db undrain` with a real broker, a real reactor and real tenants."""

import asyncio
import json
from pathlib import Path

from bus.events import DbUp, ProcReady
from tests.commandline import run
from tests.harness import eventually_async
from tests.integration.stage import Stage
from tests.integration.theatre import Theatre, play


async def command(stage: Stage, *arguments: str) -> tuple[int, str, str]:
    done = await asyncio.to_thread(run, *arguments, cwd=stage.settings.root)
    return done.returncode, done.stdout, done.stderr


async def table(stage: Stage) -> dict[str, tuple[int, str]]:
    _, output, _ = await command(stage, "db", "--json")
    return {row["database"]: (row["tenants"], row["reason"]) for row in json.loads(output)}


def test_a_drain_moves_everybody_and_lasts_until_it_is_undone(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        await stage.begin("acme", "bolt", "cups", "dart")
        used = {name: (await stage.ask(name))["database"][-3:] for name in ("acme", "bolt", "cups", "dart")}
        on_db1 = sorted(name for name in used if used[name] == "db1")
        assert len(on_db1) == 2
        code, output, told = await command(stage, "db", "drain", "db1")
        assert (code, sorted(output.splitlines())) == (0, [f"{name}  MOVED  db2" for name in on_db1])
        assert told == "nobody uses db1 any more; `bus db undrain db1` ends that\n"
        assert all([(await stage.ask(name))["database"].endswith("db2") for name in used])
        rows = await table(stage)
        assert (rows["db1"][0], rows["db2"][0]) == (0, 4)
        assert rows["db1"][1].startswith("draining, asked by ")
        assert rows["db2"][1] == "answers"
        one.reactor.stop()
        await one.again()
        stage.add("east")
        _, ready = await stage.said(ProcReady, "east")
        assert ready.database == "db2"
        assert (await command(stage, "db", "drain", "db1"))[:2] == (0, "")
        assert (await command(stage, "db", "undrain", "db1"))[:2] == (0, "db1 takes tenants again\n")
        assert (await table(stage))["db1"] == (0, "answers")
        stage.add("fork")
        _, ready = await stage.said(ProcReady, "fork")
        assert ready.database == "db1"

    play(short_dir, scene)


def test_who_may_use_no_other_database_stays_and_is_named(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        await stage.begin()
        stage.add("acme", databases=("db1",))
        stage.add("bolt", databases=("db1", "db2"))
        for name in ("acme", "bolt"):
            await stage.said(ProcReady, name)
        code, output, told = await command(stage, "db", "drain", "db1", "--timeout", "20")
        lines = ["acme  STAYS  db1  may use no other database"]
        if "bolt" in output:
            lines.append("bolt  MOVED  db2")
        assert (code, output.splitlines()) == (1, lines)
        assert told == "bus: db1 is still used by acme\n"
        assert (await stage.ask("acme"))["database"].endswith("db1")
        assert (await stage.ask("bolt"))["database"].endswith("db2")

    play(short_dir, scene)


def test_who_finds_no_room_stays_until_there_is_some(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        stage.release()
        stage.bus.publish(DbUp(database="db2", reason="answers", headroom=0))
        stage.up("db1")
        stage.add("acme")
        await stage.said(ProcReady, "acme", database="db1")
        code, output, _ = await command(stage, "db", "drain", "db1", "--timeout", "1", "--json")
        (row,) = json.loads(output)
        assert (code, row["tenant"], row["state"]) == (1, "acme", "STAYS")
        assert row["reason"] == "no other database takes it yet, see `bus db`"
        stage.bus.publish(DbUp(database="db2", reason="answers", headroom=5))

        async def moved() -> bool:
            return bool((await stage.ask("acme"))["database"].endswith("db2"))

        await eventually_async(moved)

    play(short_dir, scene)


def test_a_database_that_is_not_in_the_settings_is_refused(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        for verb in ("drain", "undrain"):
            code, _, told = await command(stage, "db", verb, "db3")
            assert code != 0
            assert told == "bus: there is no database 'db3'; did you mean db2 or db1?\n"

    play(short_dir, scene)
