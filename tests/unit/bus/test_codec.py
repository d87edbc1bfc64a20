from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import codec
from bus.errors import DecodeError
from bus.events import BY_TYPE, DbDown, DbUp, ProcReady, UserAdded, UserDeleted
from bus.model import Limits, TenantSettings
from bus.wire import VERSION, Answer, Head, Item, Publish, Replay, Stamp

STAMP = Stamp(VERSION, 7, "ab:1", 1.5, "node", "me", 3)

USER = UserAdded(
    tenant="acme",
    path="/t/acme",
    settings=TenantSettings(package="shop==1.0", databases=("db1",), limits=Limits(memory="1G")),
    stamp="s",
)

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(sorted(BY_TYPE)),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=8),
    max_leaves=20,
)


def packed(event: Any) -> bytes:
    raw = msgpack.unpackb(codec.pack_posted(event, 3), unicode_errors="surrogateescape")
    posted, again = codec.unpack_posted(raw)
    assert again == event
    return codec.pack_item(posted.topic, STAMP, posted.data)


@pytest.mark.parametrize(
    "event", [USER, DbUp(database="d", reason="r", latency=0.5), UserDeleted(tenant="\udcff")]
)
def test_an_event_comes_back_as_it_was(event: Any) -> None:
    envelope = codec.unpack_packed(packed(event))
    assert envelope.event == event
    assert (envelope.type, envelope.subject) == (event.type, event.subject)
    assert (envelope.seq, envelope.id, envelope.time, envelope.cause) == (7, "ab:1", 1.5, 3)
    assert (envelope.node, envelope.source) == ("node", "me")


def test_a_subject_may_hold_dots() -> None:
    assert codec.unpack_packed(packed(DbUp(database="a.b.c", reason=""))).subject == "a.b.c"


@pytest.mark.parametrize(
    "message",
    [
        Publish("i", "n", "s", 1, 2),
        Replay(5, ("DB_*", "USER_ADDED"), "acme", 7, 1000),
        Head(1),
        Answer(1, 2, 3),
    ],
)
def test_a_message_comes_back_as_it_was(message: Any) -> None:
    frame = codec.unpack_frame(codec.pack_frame(message, [packed(USER), packed(USER)]))
    assert frame.message == message
    assert [codec.open_item(codec.unpack_item(raw)).event for raw in frame.items] == [USER, USER]


def test_the_wire_is_topic_envelope_data() -> None:
    topic, envelope, data = msgpack.unpackb(packed(DbDown(database="d", reason="r")))
    assert topic == "DB_DOWN.d"
    assert envelope == [VERSION, 7, "ab:1", 1.5, "node", "me", 3]
    assert data == {"type": "DB_DOWN", "database": "d", "reason": "r", "latency": 0.0, "since": 0.0}


def test_what_a_newer_version_adds_is_ignored() -> None:
    topic, envelope, data = msgpack.unpackb(packed(DbUp(database="d", reason="r")))
    newer = msgpack.packb([topic, [*envelope, "more"], {**data, "colour": "green"}, "more"])
    assert codec.unpack_packed(newer).event == DbUp(database="d", reason="r")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (0, "DB_UP.other"),
        (0, "DB_DOWN.d"),
        (0, "NO_SUCH.d"),
        (0, 5),
        (1, [2, 7, "ab:1", 1.5, "node", "me", 3]),
        (1, [1, -7, "ab:1", 1.5, "node", "me", 3]),
        (1, [1, 2**60, "ab:1", 1.5, "node", "me", 3]),
        (1, []),
        (2, {"type": "DB_UP", "database": 5, "reason": "r"}),
        (2, {"type": "DB_UP", "database": "d"}),
        (2, {"type": "DB_DOWN", "database": "d", "reason": "r"}),
        (2, []),
    ],
)
def test_what_does_not_fit_is_refused(part: int, value: Any) -> None:
    raw = msgpack.unpackb(packed(DbUp(database="d", reason="r")))
    raw[part] = value
    with pytest.raises(DecodeError):
        codec.unpack_packed(msgpack.packb(raw))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(garbage: bytes) -> None:
    for read in (codec.unpack_frame, codec.unpack_packed):
        try:
            read(garbage)
        except DecodeError:
            continue


@given(anything)
def test_any_values_are_read_or_refused(raw: Any) -> None:
    for read in (codec.unpack_posted, codec.unpack_item):
        try:
            read(raw)
        except DecodeError:
            continue


@given(st.dictionaries(st.sampled_from(["type", "tenant", "pid", "settings", "path", "stamp"]), anything))
def test_any_data_of_an_event_is_read_or_refused(data: dict[str, Any]) -> None:
    for name in BY_TYPE:
        try:
            event = codec.open_item(Item(f"{name}.{data.get('tenant')}", STAMP, {**data, "type": name})).event
        except DecodeError:
            continue
        assert event.type == name


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_is_read_or_refused(place: int, value: int) -> None:
    spoilt = bytearray(codec.pack_frame(Answer(1, 2, 3), [packed(USER)]))
    spoilt[place % len(spoilt)] = value
    try:
        for raw in codec.unpack_frame(bytes(spoilt)).items:
            codec.open_item(codec.unpack_item(raw))
    except DecodeError:
        pass


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(DecodeError):
        codec.unpack_frame(b"\x91" * 100_000)


def test_a_length_that_lies_is_refused() -> None:
    with pytest.raises(DecodeError):
        codec.unpack_frame(b"\x93\x01\x92\xa4Head\x01\xdd\xff\xff\xff\xff")


def test_an_event_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="more than an event may have"):
        codec.pack_posted(DbUp(database="d", reason="x" * codec.ITEM_MAX), 0)


def test_every_event_has_a_name_on_the_wire() -> None:
    assert set(codec.NAMES.values()) == set(BY_TYPE)
    assert codec.topic(ProcReady(tenant="acme")) == "PROC_READY.acme"
