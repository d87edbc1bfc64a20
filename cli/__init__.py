"""The `bus` command: a client of the bus like any other."""
