"""Events as the bus would hand them out, for tests of what is made of them."""

from bus.events import AnyEvent, Envelope


def envelope(seq: int, event: AnyEvent, *, time: float = 0.0, cause: int = 0) -> Envelope:
    return Envelope(
        seq=seq,
        id=f"test:{seq}",
        time=time or float(seq),
        type=event.type,
        subject=event.subject,
        node="here",
        source="test",
        cause=cause,
        event=event,
    )
