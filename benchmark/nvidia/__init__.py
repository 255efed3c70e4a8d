"""NVIDIA GPUs: which card a command was given, what NVML says of it, and its own clock."""
