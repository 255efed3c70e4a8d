"""How a kind of model is loaded and fed: one file per task."""
