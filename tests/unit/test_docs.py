"""What the documentation says exists, and what exists is documented."""

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from bus.events import BY_TYPE
from bus.settings import Settings
from cli.main import COMMANDS
from docs import generate, reference

ROOT = Path(__file__).parents[2]
BY_HAND = [
    ROOT / "README.md",
    *(file for file in (ROOT / "docs").glob("*.md") if file.name not in generate.PAGES),
]
PAGES = [*BY_HAND, *(ROOT / "docs" / name for name in generate.PAGES)]


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_page_drawn_from_the_code_is_current(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    assert text == generate.render_page(name), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_anchor_is_a_heading(page: Path) -> None:
    for file, anchor in re.findall(r"\]\(([^)#]*)#([^)]*)\)", page.read_text()):
        target = page.parent / file if file else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", ["events.md", "settings.md"])
def test_every_field_has_a_meaning(page: str) -> None:
    rows = [line for line in (ROOT / "docs" / page).read_text().splitlines() if line.startswith("| `")]
    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []


@pytest.mark.parametrize("page", BY_HAND, ids=lambda page: page.name)
def test_every_command_that_is_mentioned_exists(page: Path) -> None:
    text = page.read_text()
    mentioned = re.findall(r"(?:^    |`)bus ([a-z]+)", text, flags=re.MULTILINE)
    assert set(mentioned) <= set(COMMANDS)
    targets = re.findall(r"(?:^    |`)make ([a-z-]+)", text, flags=re.MULTILINE)
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(targets) <= rules


@pytest.mark.parametrize("page", BY_HAND, ids=lambda page: page.name)
def test_every_event_that_is_mentioned_exists(page: Path) -> None:
    families = "USER|PACKAGE|SETTINGS|DB|PROC|SERVICE|JOURNAL"
    for name in re.findall(rf"\b(?:{families})_[A-Z]+\b", page.read_text()):
        assert name in BY_TYPE


def test_every_event_and_every_setting_has_its_place() -> None:
    events = (ROOT / "docs" / "events.md").read_text()
    settings = (ROOT / "docs" / "settings.md").read_text()
    for name in BY_TYPE:
        assert f"### {name}\n" in events
    for section in Settings.__struct_fields__:
        assert section == "file" or f"### [{section}" in settings


def test_every_event_says_what_it_means() -> None:
    for name, cls in BY_TYPE.items():
        assert cls.__doc__, name


class Sample(Struct):
    plain: str
    """Has a word to it."""
    silent: int = 3
    ranged: Annotated[float, Meta(ge=0, le=1)] = 0.5
    word: Literal["a", "b"] | None = None
    several: tuple[str, ...] = ()
    pair: tuple[int, int] = (1, 2)
    table: dict[str, str] = {}


def test_types_and_defaults_are_said_in_words() -> None:
    fields = reference.shape_of(Sample).fields
    assert [(reference.type_words(field.type), reference.default_words(field)) for field in fields] == [
        ("text", "**required**"),
        ("whole number", "`3`"),
        ("number from 0 to 1", "`0.5`"),
        ('"a" or "b"', ""),
        ("list of text", "`[]`"),
        ("[whole number, whole number]", "`[1,2]`"),
        ("table of text", ""),
    ]


def test_an_old_page_is_noticed(tmp_path: Path) -> None:
    assert generate.stale(tmp_path) == list(generate.PAGES)
    for name in generate.PAGES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(generate.render_page(name))
    assert generate.stale(tmp_path) == []
    (tmp_path / "events.md").write_text("old")
    assert generate.stale(tmp_path) == ["events.md"]


@pytest.mark.parametrize(
    "text",
    [
        "# 0001: Why\n\nStatus: accepted\n",
        "# 0001: Why\n\n## Status\n\nAccepted.\n",
        "# 0001: Why\n\n- **Status**: accepted\n",
    ],
)
def test_a_decision_is_listed_with_its_status(tmp_path: Path, text: str) -> None:
    file = tmp_path / "0001-why.md"
    file.write_text(text)
    assert generate._decision(file).lower() == "| [0001: why](0001-why.md) | accepted |"
