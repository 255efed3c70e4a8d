"""Tests of importers, each with a broken file of its format."""
