"""A stand-in for optimum's verbosity: it has a level and nothing that is told at it."""

LEVEL = "INFO"


def set_verbosity_warning():
    """Tell warnings and errors only."""
    globals()["LEVEL"] = "WARNING"
