"""The documentation: some pages are written by hand, some drawn from the code by `generate`."""
