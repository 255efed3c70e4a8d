"""How a loaded model is called and timed: one file per scenario."""
