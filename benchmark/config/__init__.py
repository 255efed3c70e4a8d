"""YAML in, typed experiments out: the only part that knows Hydra and OmegaConf."""
