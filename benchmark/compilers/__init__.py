"""One compiler per file; the same stem as its YAML in conf/compiler."""
