"""Statistics of latencies, without any row or store."""
