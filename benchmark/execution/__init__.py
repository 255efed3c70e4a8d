"""Where heavy work runs: child processes, other interpreters, and the lock on the host."""
