"""The page in Gradio: three tabs, and what their controls call in the `Studio`."""

from __future__ import annotations

import contextlib
import html

from sdgan_jax.demo import generate_tab, photo_tab, wear_tab
from sdgan_jax.demo.limits import LEFTOVERS
from sdgan_jax.demo.studio import Studio

with contextlib.suppress(ImportError):  # An extra; `server` says so where it is missing.
    import gradio as gr


def build(studio: Studio) -> gr.Blocks:
    """Returns the page of a studio."""
    with gr.Blocks(analytics_enabled=False, title="sdgan-jax", delete_cache=(60, LEFTOVERS)) as blocks:
        gr.HTML(_masthead(studio), padding=False)
        with gr.Tab("Generate", id="generate"):
            generate_tab.build(studio, blocks)
        with gr.Tab("Photo", id="photo") as tab:
            photo_tab.build(studio, tab)
        with gr.Tab("Wear", id="wear") as tab:
            wear_tab.build(studio, tab)
    return blocks.queue(max_size=32, default_concurrency_limit=1)


def _masthead(studio: Studio) -> str:
    config, params = studio.model.config, studio.model.params
    parts = [f"{config.resolution} × {config.resolution} pixels"]
    parts.append(", ".join(studio.attributes) if studio.attributes else "no attributes")
    if studio.attributes and "E" not in params:
        parts.append("no encoder: latents are searched for")
    if studio.attributes and "F" not in params:
        parts.append("no fusion network: the prior basis alone")
    return f'<div class="masthead"><h1>sdgan-jax</h1><p>{html.escape(" · ".join(parts))}</p></div>'
