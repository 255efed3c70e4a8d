"""How calls are made and timed."""
