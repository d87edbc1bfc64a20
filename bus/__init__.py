"""The message bus: typed events, a journal, a broker and its clients; it knows no service."""
