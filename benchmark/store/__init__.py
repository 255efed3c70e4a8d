"""Rows as Parquet: schema, files, queries."""
