"""The verbs of a run, in order: plan, build, compile, peak, measure, train, verify, row. None imports another."""
