"""Presets: one per file, each with a `get_config()` that returns a config of `sdgan_jax.config`."""
