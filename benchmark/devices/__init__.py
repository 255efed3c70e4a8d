"""One device per file: identity, availability, lease and synchronisation."""
