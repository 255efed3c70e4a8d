"""The verbs of a run, in order: plan, build, compile, measure, verify, store. None imports another."""
