"""The message bus: typed events, a journal, a broker and its clients; it knows no service."""

__version__ = "0.1.0"
"""Of all of tenantbus; asking the package's metadata would cost each service two megabytes."""
