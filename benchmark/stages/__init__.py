"""The verbs of a run: plan, build, compile, peak, measure, train, verify, row. None imports another."""
