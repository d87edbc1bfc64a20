"""The parts of the fork server: standard library and tornado alone, and relative imports alone."""
