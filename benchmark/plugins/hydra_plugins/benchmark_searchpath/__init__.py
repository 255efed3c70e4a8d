"""Namespace of Hydra's plug-in for YAMLs of others."""
