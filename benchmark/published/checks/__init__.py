"""Rules that find errors of published pages."""
