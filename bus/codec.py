"""Events and messages to bytes and back; the only file that knows msgpack (ADR-0002)."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgpack
from msgspec import Struct, ValidationError, convert, to_builtins

from bus.errors import DecodeError
from bus.events import BY_TYPE, AnyEvent, Envelope, Event
from bus.wire import VERSION, AnyMessage, Frame, Item, Posted, Stamp

T = TypeVar("T", bound=Struct)

NAMES: dict[type[Event], str] = {cls: name for name, cls in BY_TYPE.items()}

ITEM_MAX = 1_000_000
"""Bytes that one packed event may have."""

# Names of files need not be UTF-8: they come and go as Python has them (PEP 383).
_packer = msgpack.Packer(unicode_errors="surrogateescape")


def topic(event: AnyEvent) -> str:
    return f"{NAMES[type(event)]}.{event.subject}"


def pack_frame(message: AnyMessage, items: Sequence[bytes] = ()) -> bytes:
    head = _packer.pack([VERSION, to_builtins(message)])
    return b"\x93" + head[1:] + _packer.pack_array_header(len(items)) + b"".join(items)


def unpack_frame(frame: bytes) -> Frame:
    """Raises DecodeError; the items are not looked at yet."""
    return _fit(_unpack(frame), Frame)


def pack_posted(event: AnyEvent, cause: int) -> bytes:
    """Pack an event for a Publish. Raises ValueError when it is larger than ITEM_MAX."""
    packed: bytes = _packer.pack((topic(event), cause, to_builtins(event)))
    if len(packed) > ITEM_MAX:
        raise ValueError(f"{topic(event)}: {len(packed)} bytes, more than an event may have ({ITEM_MAX})")
    return packed


def unpack_posted(raw: Any) -> tuple[Posted, AnyEvent]:
    """Check an item of a Publish; raises DecodeError."""
    posted = _fit(raw, Posted)
    return posted, _event(posted.topic, posted.data)


def pack_item(topic: str, stamp: Stamp, data: dict[str, Any]) -> bytes:
    """Pack an event for the journal and for all; raises DecodeError when its data cannot be packed again."""
    envelope = (VERSION, stamp.seq, stamp.id, stamp.time, stamp.node, stamp.source, stamp.cause)
    try:
        packed: bytes = _packer.pack((topic, envelope, data))
    except ValueError as error:  # an unknown key's value may be nested more deeply than msgpack packs
        raise DecodeError(str(error)) from None
    return packed


def unpack_item(raw: Any) -> Item:
    """Check an item except for its data; raises DecodeError."""
    return _fit(raw, Item)


def unpack_packed(packed: bytes) -> Envelope:
    """Read an event that `pack_item` packed; raises DecodeError."""
    return open_item(unpack_item(_unpack(packed)))


def open_item(item: Item) -> Envelope:
    """Check an item's data as well; raises DecodeError."""
    stamp = item.stamp
    event = _event(item.topic, item.data)
    name, _, subject = item.topic.partition(".")
    return Envelope(
        seq=stamp.seq,
        id=stamp.id,
        time=stamp.time,
        type=name,
        subject=subject,
        node=stamp.node,
        source=stamp.source,
        cause=stamp.cause,
        event=event,
    )


def _event(topic_: str, data: dict[str, Any]) -> AnyEvent:
    cls = BY_TYPE.get(topic_.partition(".")[0])
    if cls is None:
        raise DecodeError(f"{topic_!r}: no such event")
    event: Any = _fit(data, cls)
    if topic(event) != topic_:
        raise DecodeError(f"{topic_!r}: the event says {topic(event)!r}")
    checked: AnyEvent = event
    return checked


def _unpack(packed: bytes) -> Any:
    try:
        return msgpack.unpackb(packed, unicode_errors="surrogateescape")
    except (ValueError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise DecodeError(f"no msgpack: {error}") from None


def _fit(raw: Any, shape: type[T]) -> T:
    try:
        return convert(raw, shape)
    except (ValidationError, UnicodeError) as error:  # a key, or a checked text, that is no UTF-8
        raise DecodeError(str(error)) from None
