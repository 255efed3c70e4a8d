"""Compiled artefacts, weights and references by content key."""
