"""Scenarios: how a loaded model is called and timed. One scenario per file."""
