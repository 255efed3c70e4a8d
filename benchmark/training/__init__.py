"""Training: processes that share a step, data, loss and loop. Its torch modules are imported in children."""
