"""The server of the page: it talks to nobody but its visitors, and keeps nothing of theirs on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from sdgan_jax import pictures
from sdgan_jax.demo import examples, limits, page_style, warming
from sdgan_jax.demo.studio import Studio

MISSING = "the page needs Gradio; install it by pip install -e '.[demo]'"
# The browser loads nothing from elsewhere, whatever the page names.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; media-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
_THUMBNAIL = 192  # pixels


def check_installed() -> None:
    """Raises `ImportError` where Gradio is missing, with the way out; sets what must be set before it is imported."""
    # Gradio reads these when it is imported: no report of its use, no question for newer versions.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError(MISSING) from error


def serve(studio: Studio, host: str, port: int) -> None:
    """Serves the page until Ctrl-C or SIGTERM, and compiles in the background.

    Args:
        studio: answers the requests.
        host: address that is listened on; 127.0.0.1 is reached from this machine only.
        port: port; 0 for any free one.

    Raises:
        ImportError: Gradio is not installed.
        OSError: the address cannot be listened on.
    """
    check_installed()
    import uvicorn

    with temporary_folder() as folder, listening(host, port) as listener:
        app = make_app(studio)
        threading.Thread(target=_sweep, args=(studio, folder), name="sweep", daemon=True).start()
        # A timeout, because a browser keeps its connection open.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        print(f"the page is at {address(host, listener.getsockname()[1])} (Ctrl-C ends it)", flush=True)
        warming.start(studio)
        # Uvicorn passes the signal on after its end. By default it would end the process before the folder is removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
        studio.worker.close()


def address(host: str, port: int) -> str:
    """Returns the address of the page for a browser on this machine; see `serve`."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def make_app(studio: Studio) -> Callable[..., Awaitable[None]]:
    """Returns the ASGI application: the page, the downloads and the pictures of the examples."""
    import fastapi
    import gradio

    from sdgan_jax.demo import page

    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/download/{token}")
    def download(token: str) -> fastapi.Response:
        try:
            name, data = studio.download(token)
        except ValueError as error:
            return fastapi.responses.PlainTextResponse(str(error), 404)
        quoted = urllib.parse.quote(name)
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{quoted}", "cache-control": "no-store"}
        return fastapi.Response(data, media_type="image/png", headers=headers)

    @app.get("/example/{number}.png")
    def example(number: int) -> fastapi.Response:
        if not 0 <= number < len(examples.NAMES):
            return fastapi.responses.PlainTextResponse("there is no such example", 404)
        image = pictures.fit(studio.draw_example(examples.NAMES[number]), _THUMBNAIL)
        headers = {"cache-control": "max-age=3600"}
        return fastapi.Response(pictures.encode_png(image), media_type="image/png", headers=headers)

    thumbnails = "".join(
        f".example-{k} {{ background-image: url(example/{k}.png) !important; }}\n" for k in range(len(examples.NAMES))
    )
    theme = gradio.themes.Soft(
        primary_hue="sky", neutral_hue="slate", font=list(page_style.FONT), font_mono=list(page_style.MONO)
    ).set(**page_style.LABELS, **page_style.SURFACES)
    gradio.mount_gradio_app(
        app,
        page.build(studio),
        path="/",
        max_file_size=studio.limits.megabytes * 2**20,
        footer_links=[],
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=theme,
        css=page_style.CSS + thumbnails,
    )
    return _with_headers(app)


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """Gives Gradio a folder of its own for uploads, and removes it at the end."""
    folder = tempfile.mkdtemp(prefix="sdgan_jax_demo_")
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = folder
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        del os.environ["GRADIO_TEMP_DIR"]
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before


def remove_leftovers(folder: str, seconds: float, now: float) -> None:
    """Removes files of a folder that were changed `seconds` before the time `now`, and empty folders."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = os.path.join(parent, name)
            with contextlib.suppress(OSError):
                if os.path.getmtime(path) <= now - seconds:
                    os.unlink(path)
        if parent != folder:
            with contextlib.suppress(OSError):
                os.rmdir(parent)


def _sweep(studio: Studio, folder: str) -> None:
    """Forgets what was kept long enough, and deletes uploads that nobody took."""
    while os.path.isdir(folder):
        time.sleep(15.0)
        studio.shelf.sweep()
        remove_leftovers(folder, limits.LEFTOVERS, time.time())


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Opens the socket, so that a port that is taken is one line and not a stopped server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # a browser that comes before the server has started waits
    except OSError as error:
        listener.close()
        way_out = "; give another --port" if error.errno == errno.EADDRINUSE else ""
        raise OSError(f"--host={host} --port={port}: {error.strerror or error}{way_out}") from error
    with contextlib.closing(listener):
        yield listener


def _with_headers(app: Any) -> Callable[..., Awaitable[None]]:
    """Adds `_HEADERS` to each answer."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        await app(scope, receive, send_with_headers if scope["type"] == "http" else send)

    return answer
