"""One grid, from its plan to its rows."""
