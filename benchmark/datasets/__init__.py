"""Data sets with labels: one file format a module. conf/dataset has a YAML for each data set."""
