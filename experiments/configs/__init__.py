"""Presets: one a file, each with a `get_config() -> sdgan_jax.config.Config`."""
