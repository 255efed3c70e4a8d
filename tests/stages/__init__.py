"""Tests of `benchmark.stages`, file by file."""
