"""One device per file: identity, availability, synchronisation and state."""
