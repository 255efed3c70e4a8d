"""Tasks: how their models are made, loaded and fed. One task per file."""
