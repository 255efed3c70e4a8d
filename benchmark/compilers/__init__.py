"""Compilers: one per file, with the stem of its YAML in conf/compiler."""
