"""Conclusions from stored rows: comparison, best cell, lint, nights."""
