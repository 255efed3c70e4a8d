"""The verb `nightly`."""
