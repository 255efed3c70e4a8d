"""Tests of Neuron hardware through libraries and tools that stand in for the real ones."""
