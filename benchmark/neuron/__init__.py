"""AWS Neuron: shared compiler options, compiler logs, and the tools neuron-ls and neuron-monitor."""
