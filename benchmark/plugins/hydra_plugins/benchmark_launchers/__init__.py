"""Launchers of this project, found by Hydra in the namespace hydra_plugins."""
