"""A stand-in for optimum, as far as optimum-neuron 0.4.5 is called: it computes on the CPU."""
