"""What the help of commands has in common."""

EXIT_CODES = """\
\b
Exit codes:
  0    done
  1    it did not work out
  2    wrong usage
  3    settings are missing or wrong, or it is running already
  4    the bus does not answer
  130  interrupted
"""


def examples(*lines: str) -> str:
    """Write the end of a command's help."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
