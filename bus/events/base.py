"""What all events share."""

import re
from typing import ClassVar

from msgspec import Struct


def wire_name(class_name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name).upper()


class Event(Struct, frozen=True, kw_only=True, tag_field="type", tag=wire_name):
    """What all events share; itself never sent."""

    family: ClassVar[str]
    speaker: ClassVar[str]
    subject_field: ClassVar[str]

    @property
    def type(self) -> str:
        return wire_name(type(self).__name__)

    @property
    def subject(self) -> str:
        return str(getattr(self, self.subject_field))
