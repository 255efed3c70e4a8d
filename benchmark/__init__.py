"""Declarative benchmark grids: every cell compiles, caches, times, verifies and leaves one row.

YAML names the plug-ins; `config` types them; `pipeline` says the sentence; `stages` are its verbs;
`records` its nouns; `protocols` the seams where plug-ins fit.
"""
