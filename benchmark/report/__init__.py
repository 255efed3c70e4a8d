"""From a YAML and stored rows to a document, and to files."""
