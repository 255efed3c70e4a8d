"""One format of published figures per file; the same stem as its YAML in conf/importer."""
