"""The verbs of the command line, by name alone: deciding who parses a command must not cost an import."""

VERBS = frozenset({"plan", "results", "doctor", "cache", "store"})
