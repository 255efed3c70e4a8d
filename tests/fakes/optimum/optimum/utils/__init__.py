"""A stand-in: see `optimum.utils.logging`."""
