"""HTML of pictures: they are part of the page's text, so that no file of them is written."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image

from sdgan_jax import pictures
from sdgan_jax.face3d.finding import Found

_SHOWN = 1280  # pixels; a larger picture is shrunk for the page
_LOSSLESS = 512  # pixels; larger pictures are compressed
_QUALITY = 90
_MARGIN = 0.12  # of a face's frame around its landmarks, in sides of their box
_BADGE = 0.3  # radius of the number of a small face, in widths of its box
EMPTY = '<div class="empty"><span>{}</span></div>'


def address(image: np.ndarray) -> str:
    """Returns a data URI of a picture u8[H,W,3], shrunk to the size of the page."""
    image, encoded = pictures.fit(image, _SHOWN), io.BytesIO()
    if max(image.shape[:2]) <= _LOSSLESS:
        return _png(image)
    Image.fromarray(image).save(encoded, "jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"


def _png(image: np.ndarray) -> str:
    """Returns a data URI of a picture u8[H,W,3], as it is."""
    return f"data:image/png;base64,{base64.b64encode(pictures.encode_png(image)).decode()}"


def empty(text: str) -> str:
    """Returns the place of a picture that is not there yet, with a text."""
    return EMPTY.format(html.escape(text))


def row(shown: Sequence[tuple[np.ndarray, str]], download: str) -> str:
    """Shows pictures u8[R,R,3] with labels side by side, and a link by which the last is downloaded as `download`."""
    figures = "".join(
        f'<figure><img src="{address(image)}" alt="{html.escape(label)}"><figcaption>{html.escape(label)}</figcaption>'
        "</figure>"
        for image, label in shown
    )
    return f'<div class="figures">{figures}</div>' + _link(_png(shown[-1][0]), download, shown[-1][0])


def comparison(before: np.ndarray, after: np.ndarray, href: str, download: str) -> str:
    """Lays two pictures u8[H,W,3] over each other, parted by a line that can be moved, above a link to the second."""
    height, width = after.shape[:2]
    return (
        f'<div class="compare" style="--ratio:{width / height:.4f}">'
        f'<img src="{address(before)}" alt="before"><img class="after" src="{address(after)}" alt="after">'
        '<span class="tag left">before</span><span class="tag right">after</span><i></i>'
        '<input type="range" min="0" max="100" value="50" aria-label="line between before and after" '
        "oninput=\"this.parentNode.style.setProperty('--at', this.value + '%')\"></div>"
    ) + _link(href, download, after)


def frames(image: np.ndarray, faces: Sequence[Found], chosen: Collection[int]) -> str:
    """Shows a photo u8[H,W,3] with a numbered frame around each face; those that are not chosen are faint."""
    height, width = image.shape[:2]
    unit = max(height, width) / 100  # of corners and numbers
    marks = []
    for k, face in enumerate(faces):
        left, top, right, bottom = (float(v) for v in face.box)
        margin = _MARGIN * max(right - left, bottom - top)
        radius = min(max(_BADGE * (right - left), 2 * unit), 3.2 * unit)
        x, y, w, h = left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin
        cx, cy = (min(max(at, radius), side - radius) for at, side in ((x, width), (y, height)))
        marks.append(
            f'<g class="{"chosen" if k in chosen else "other"}">'
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{unit:.1f}"/>'
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{radius:.1f}"/>'
            f'<text x="{cx:.1f}" y="{cy:.1f}" font-size="{1.3 * radius:.1f}">{1 + k}</text></g>'
        )
    return (
        f'<div class="frames"><img src="{address(image)}" alt="photo">'
        f'<svg viewBox="0 0 {width} {height}">{"".join(marks)}</svg></div>'
    )


def notes(lines: Sequence[str]) -> str:
    """Returns lines as a note, nothing for none."""
    return "".join(f'<p class="note">{html.escape(line)}</p>' for line in lines)


def _link(href: str, download: str, image: np.ndarray) -> str:
    height, width = image.shape[:2]
    return (
        f'<a class="download" href="{href}" download="{html.escape(download)}">Download PNG'
        f"<small>{width} × {height}</small></a>"
    )
