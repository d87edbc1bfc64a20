"""Writes the pages that are drawn from the code; with --check only tells which ones are out of date."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cli.main import bus as command
from docs.commands import commands
from docs.reference import events, settings
from services.reactor.diagram import render

HERE = Path(__file__).parent

NOTE = "<!-- Drawn from {source} by `make docs`: change it there. -->\n\n"


def states() -> str:
    return f"""# What becomes of a tenant

Each arrow is a change of state that `services/reactor/decide.py` makes, found by trying every event in every
state. The words are those of `bus ps`.

In `Replacing` the old process serves, and its successor goes through the same states, beginning with `Idle`.
When the successor is ready, the tenant is `Running` with it, and the old process finishes its requests beside
whatever happens then. Where nothing is left to do but to wait for its end, the tenant's state tells of it:
hence the arrows to `Stopping` and `Killing` from states without a process.

```mermaid
{render().strip()}
```
"""


def decisions() -> str:
    """List the ADRs by number, with their status."""
    rows = [_decision(file) for file in sorted((HERE / "adr").glob("[0-9]*.md"))]
    return "\n".join(
        [
            "# Decisions",
            "",
            "One page for each choice that somebody might want to question later.",
            "",
            "| Decision | Status |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _decision(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    title = lines[0].removeprefix("# ")
    status = next((line for line in lines[1:] if "status" in line.lower() and ":" in line), "")
    if not status:  # the status stands below a heading of its own
        heading = next(i for i, line in enumerate(lines) if line.strip("# ").lower() == "status")
        status = next(line for line in lines[heading + 1 :] if line.strip())
    return f"| [{title}]({file.name}) | {status.rpartition(':')[2].strip(' *.').capitalize()} |"


PAGES: dict[str, tuple[str, Callable[[], str]]] = {
    "events.md": ("bus/events/", events),
    "settings.md": ("bus/sections.py and bus/model.py", settings),
    "commands.md": ("cli/", lambda: commands(command)),
    "states.md": ("services/reactor/decide.py", states),
    "adr/README.md": ("the files in docs/adr", decisions),
}


@cache  # the states take seconds, and nothing that is drawn changes meanwhile
def render_page(name: str) -> str:
    source, draw = PAGES[name]
    return NOTE.format(source=source) + draw()


def stale(directory: Path = HERE) -> list[str]:
    """Name the pages in `directory` that differ from what the code says."""
    return [name for name in PAGES if _text(directory / name) != render_page(name)]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m docs.generate [--check]\n")
        return 2
    old = stale()
    if arguments:
        for name in old:
            sys.stderr.write(f"docs/{name} is out of date; run: make docs\n")
        return 1 if old else 0
    for name in old:
        (HERE / name).write_text(render_page(name), encoding="utf-8")
        sys.stdout.write(f"wrote docs/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
