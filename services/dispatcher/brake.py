"""The brake: many tenants that fail at once share what is wrong, and ending them helps nobody; pure.

While it is on, one tenant is let through now and then, so that one that is really stuck does not stay so for
ever, and so that it shows when ending helps again.
"""

from enum import StrEnum

from msgspec import Struct, structs


class Position(StrEnum):
    OFF = "off"
    ON = "on"
    RELEASED = "released"
    """By a person: off until the trouble that it was on for is over."""


class BrakeRules(Struct, frozen=True, kw_only=True):
    share: float
    """Of the tenants that serve: so many in trouble at once are no chance."""
    minimum: int
    """Tenants in trouble below which it never comes on, however few there are in all."""
    pace: float
    """Seconds between two tenants that are let through while it is on."""
    calm: float
    """Seconds with less than half of that trouble after which it goes off."""

    def level(self, troubled: int, watched: int) -> float:
        """Tell how bad it is, from 0; at 1 the brake comes on."""
        return troubled / max(self.minimum, self.share * watched)


class Brake(Struct, frozen=True, kw_only=True):
    position: Position = Position.OFF
    since: float = 0.0
    next_at: float = 0.0
    """When the next tenant is let through."""
    calm_since: float | None = None


OFF = Brake()


def follow(brake: Brake, level: float, at: float, rules: BrakeRules) -> Brake:
    """Tell where the brake stands now that it is so bad."""
    if brake.position is Position.OFF:
        return pull(at, rules) if level >= 1 else brake
    if level >= 0.5:  # noqa: PLR2004 - half of what brings it on, so that it does not flutter
        return structs.replace(brake, calm_since=None)
    since = at if brake.calm_since is None else brake.calm_since
    return OFF if at - since >= rules.calm else structs.replace(brake, calm_since=since)


def pull(at: float, rules: BrakeRules) -> Brake:
    return Brake(position=Position.ON, since=at, next_at=at + rules.pace)


def allows(brake: Brake, at: float) -> bool:
    """Tell whether a tenant may be called stuck now."""
    return brake.position is not Position.ON or at >= brake.next_at


def let_through(brake: Brake, at: float, rules: BrakeRules) -> Brake:
    """Remember that a tenant was called stuck."""
    return structs.replace(brake, next_at=at + rules.pace) if brake.position is Position.ON else brake


def release(brake: Brake, at: float) -> Brake:
    """Let all through, for as long as this trouble lasts."""
    return Brake(position=Position.RELEASED, since=at) if brake.position is Position.ON else brake
