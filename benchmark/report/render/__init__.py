"""A document in one format each."""
