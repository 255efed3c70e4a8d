"""A stand-in for optimum's verbosity: it has a level and prints nothing."""

LEVEL = "INFO"


def set_verbosity_warning():
    """Tell warnings and errors only."""
    globals()["LEVEL"] = "WARNING"
