"""Labelled data: where it lies, how a model is asked its items, and how its answers are scored."""
