"""The verbs of a run, in order: plan, build, compile, peak, measure, verify, row. None imports another."""
