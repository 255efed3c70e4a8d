"""A stand-in: see `optimum.exporters.neuron`."""
