"""Rows on a terminal or in a job's summary."""
