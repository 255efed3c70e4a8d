"""Where heavy work runs: child processes, other interpreters, and who holds the host."""
