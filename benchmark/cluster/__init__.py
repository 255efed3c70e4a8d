"""Grids on many hosts: Ray places the runs, each on a node that has its hardware."""
