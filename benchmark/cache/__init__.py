"""Compile cache: artefacts, weights, references and machine peaks by content key."""
