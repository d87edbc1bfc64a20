"""What clients and the broker say to one another (ADR-0002): one frame is [version, message, items].

Items are packed events. In a Publish each is [topic, cause, data], where a cause below zero means the
publisher's own event of that number; everywhere else each is [topic, envelope, data].
"""

from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

VERSION: Literal[1] = 1

Number = Annotated[int, Meta(ge=0, le=2**53)]
"""Also what SQLite and JSON can hold."""
Name = Annotated[str, Meta(pattern=r"^[!-~]{1,200}$")]
"""Goes into the journal's tables, which hold UTF-8 only."""
Text = Annotated[str, Meta(max_length=200)]


class Message(Struct, frozen=True, array_like=True, tag=True):
    pass


class Publish(Message, frozen=True):
    """Client: items numbered `first`, `first` + 1, ...; I hold nothing older than `oldest` any more."""

    instance: Name
    node: Text
    source: Text
    oldest: Number
    first: Number


class Acked(Message, frozen=True):
    """Broker: the journal has items `first`, `first` + 1, ... as these seqs; 0 where one was refused."""

    first: Number
    seqs: list[Number]


class Missing(Message, frozen=True):
    """Broker: something was lost on the way; send again from number `expected` on."""

    expected: Number


class Question(Message, frozen=True):
    """Client: answered by an Answer of the same `request`; may be asked again without harm."""

    request: Number


class Head(Question, frozen=True):
    pass


class Replay(Question, frozen=True):
    patterns: tuple[Text, ...]
    subject: str
    after: Number
    limit: Number


class Latest(Question, frozen=True):
    patterns: tuple[Text, ...]
    subject: str


class SeqAt(Question, frozen=True):
    time: float


class Commit(Question, frozen=True):
    consumer: Name
    seq: Number


class Cursor(Question, frozen=True):
    consumer: Name


class Answer(Message, frozen=True):
    """Broker: `value` is the number asked for; after a Replay everything up to it has been looked at."""

    request: Number
    value: Number
    head: Number


class News(Message, frozen=True):
    """Broker, to all: the events after `prev` and up to `head`; without items a beat."""

    broker: Text
    """Changes when the broker is started again."""
    prev: Number
    head: Number


AnyQuestion: TypeAlias = Head | Replay | Latest | SeqAt | Commit | Cursor
AnyMessage: TypeAlias = Publish | Acked | Missing | AnyQuestion | Answer | News


class Frame(Struct, frozen=True, array_like=True):
    version: Literal[1]
    message: AnyMessage
    items: list[Any]


class Posted(Struct, frozen=True, array_like=True):
    """An item of a Publish."""

    topic: str
    cause: Annotated[int, Meta(ge=-(2**53), le=2**53)]
    data: dict[str, Any]


class Stamp(Struct, frozen=True, array_like=True):
    """The envelope on the wire."""

    version: Literal[1]
    seq: Number
    id: str
    time: float
    node: str
    source: str
    cause: Number


class Item(Struct, frozen=True, array_like=True):
    """An event on its way to subscribers."""

    topic: str
    stamp: Stamp
    data: dict[str, Any]


class Record(NamedTuple):
    """A row of the journal."""

    seq: int
    time: float
    type: str
    subject: str
    instance: str
    n: int
    packed: bytes
    """The item as it goes out."""


class Page(NamedTuple):
    packed: list[bytes]
    upto: int
    """Everything up to this seq has been looked at."""


Newest: TypeAlias = dict[tuple[str, str], tuple[int, bytes]]
"""(family, subject) -> (seq, packed) of the newest event."""
