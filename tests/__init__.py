"""Tests, in the folders of the package; helpers are imported from here."""
