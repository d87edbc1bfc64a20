from typing import get_args

import msgspec
import pytest

from bus import events
from bus.events import BY_TYPE, AnyEvent, Event
from bus.model import TENANT_NAME


def test_every_concrete_event_is_in_the_union_and_every_name_is_its_own() -> None:
    families = {cls for cls in vars(events).values() if isinstance(cls, type) and issubclass(cls, Event)}
    concrete = {cls for cls in families if not cls.__subclasses__()}
    assert concrete == set(get_args(AnyEvent))
    assert len(BY_TYPE) == len(concrete)


@pytest.mark.parametrize("name", BY_TYPE)
def test_every_event_has_a_subject_a_family_and_a_docstring(name: str) -> None:
    cls = BY_TYPE[name]
    assert cls.subject_field in cls.__struct_fields__
    assert cls.family
    assert cls.speaker
    assert cls.__doc__
    assert cls.__struct_config__.frozen


def test_names_on_the_wire() -> None:
    assert events.UserAdded.__struct_config__.tag == "USER_ADDED"
    assert events.DbDown(database="db1", reason="refused").type == "DB_DOWN"
    assert events.DbDown(database="db1", reason="refused").subject == "db1"


def test_union_is_closed() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"type": "DATETIME"}, AnyEvent)


@pytest.mark.parametrize("name", ["a", "acme", "a-b", "x" * 63, "4711"])
def test_tenant_names(name: str) -> None:
    assert TENANT_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "x" * 64, "ä", "a b"])
def test_no_tenant_names(name: str) -> None:
    assert not TENANT_NAME.fullmatch(name)
