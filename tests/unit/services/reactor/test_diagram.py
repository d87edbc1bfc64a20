"""The picture shows every state, and says what the rules say."""

import re
from functools import cache
from typing import get_args

from services.reactor.diagram import render
from services.reactor.state import State


@cache
def drawn() -> str:
    return render()


def edges() -> set[tuple[str, str]]:
    return set(re.findall(r"^    (\w+) --> (\w+) : ", drawn(), re.MULTILINE))


def test_every_state_can_be_reached_and_left() -> None:
    names = {state.__name__ for state in get_args(State)}
    assert {target for _, target in edges()} == names
    assert {source for source, _ in edges()} == names


def test_a_process_comes_from_a_spawn_or_from_before_and_goes_by_an_end() -> None:
    with_process = {"Starting", "Running", "Stuck", "Stopping", "Killing", "Replacing"}
    entries = {edge for edge in edges() if edge[0] not in with_process and edge[1] in with_process}
    left_over = {edge for edge in entries if edge[1] in {"Stopping", "Killing"}}  # of one that was replaced
    assert entries - left_over == {
        ("Asked", "Starting"),
        ("Withdrawing", "Starting"),
        ("Idle", "Starting"),
        ("Idle", "Running"),
    }
    left_beside = {("Stopping", "Idle")}  # somebody came while an unused one ends, and gets another
    assert {
        target for source, target in edges() - left_beside if source in with_process - {"Replacing"}
    } <= with_process | {"Exited"}
