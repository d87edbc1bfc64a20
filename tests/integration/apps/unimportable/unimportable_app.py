"""An application that cannot be imported."""

raise LookupError("no such thing")
