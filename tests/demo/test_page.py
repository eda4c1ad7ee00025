"""The page in Chromium: a visitor draws, uploads, edits, downloads, and makes mistakes."""

import functools
import os
import re
import shutil
import threading
import time

import numpy as np
import pytest
from PIL import Image, ImageColor

from sdgan_jax.demo import changes, server
from sdgan_jax.demo.limits import Limits
from sdgan_jax.demo.studio import Studio
from tests import models
from tests.demo.test_opened_photo import encode
from tests.face3d.test_finding import painted
from tests.photos.test_wearing import FINDER, draw_square

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
PATIENCE = 60_000  # milliseconds; compilation included

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


def draw_what_is_worn(image, position_map, chosen, layout):
    return draw_square(image, position_map, chosen, layout) if chosen else image


@pytest.fixture(scope="module")
def site():
    """Address of a server with a small model, a network that sees painted squares, and its folder of uploads."""
    pytest.importorskip("gradio", reason="Gradio is not installed")
    uvicorn = pytest.importorskip("uvicorn")
    patch = pytest.MonkeyPatch()
    patch.setattr(changes, "dress", functools.partial(changes.dress, draw=draw_what_is_worn))
    patch.setattr("sdgan_jax.demo.examples.draw", lambda name, model: painted(240, 300, 150, 120, 150))
    server.check_installed()
    studio = Studio(models.make(models.W_SPACE), FINDER, Limits(megabytes=1, megapixels=2))
    studio.steps = 3
    with server.temporary_folder() as folder, server.listening("127.0.0.1", 0) as listener:
        running = uvicorn.Server(uvicorn.Config(server.make_app(studio), log_level="warning"))
        running.install_signal_handlers = lambda: None
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", folder
        running.should_exit = True
        thread.join(10)
    studio.worker.close()
    patch.undo()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(site, browser):
    """The page, opened; at the end nothing was asked of another host, and no script has failed."""
    address, _ = site
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page, others, errors = context.new_page(), [], []
    page.set_default_timeout(PATIENCE)
    page.on(
        "request",
        lambda asked: others.append(asked.url) if not asked.url.startswith((address, "data:", "blob:")) else 0,
    )
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert (others, errors) == ([], [])


def source(page, selector):
    page.wait_for_selector(selector)
    return page.eval_on_selector(selector, "image => image.src")


def wait_for_another(page, selector, old):
    page.wait_for_function(
        "([s, o]) => { const e = document.querySelector(s); return e && e.src !== o }", arg=[selector, old]
    )


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()


def upload(page, selector, name, data):
    page.set_input_files(f"{selector} input[type=file]", {"name": name, "mimeType": "image/png", "buffer": data})


def files(folder):
    """Paths of all files that are not empty; Gradio makes empty ones beside an upload."""
    found = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    return [path for path in found if os.path.getsize(path)]


def wait_for_no_files(folder):
    end = time.monotonic() + 10
    while files(folder) and time.monotonic() < end:
        time.sleep(0.1)
    assert files(folder) == []


def test_a_slider_draws_the_face_anew(page):
    before, after = "#generated figure:nth-child(1) img", "#generated figure:nth-child(2) img"
    face, masked = source(page, before), source(page, after)
    assert face != masked
    page.locator("#strength-mask input[type=range]").press("ArrowLeft")
    wait_for_another(page, after, masked)
    assert source(page, before) == face
    page.locator("#another").click()
    wait_for_another(page, before, face)


def test_the_page_is_dark_where_the_system_is(site, browser):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(site[0])
    page.wait_for_selector("#generated img", timeout=PATIENCE)
    style = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
    ground, text = page.eval_on_selector("body", style)
    assert brightness(ground) < 40 and brightness(text) > 200
    track = "e => getComputedStyle(e).getPropertyValue('--neutral-200')"  # Gradio's colour of it, in both themes
    assert np.mean(ImageColor.getrgb(page.eval_on_selector("#psi input[type=range]", track))) < 128
    open_tab(page, "Photo")
    label = page.wait_for_selector("#photo-upload [data-testid=block-label]")
    assert label.evaluate(style)[0] == "rgba(0, 0, 0, 0)"
    context.close()


def brightness(colour):
    """Returns the mean of red, green and blue, 0 to 255, of "rgb(r, g, b)"."""
    return np.mean([float(number) for number in re.findall(r"[\d.]+", colour)[:3]])


def test_a_photo_is_uploaded_edited_and_downloaded(page, site):
    open_tab(page, "Photo")
    result = "#photo-result img.after"
    example = source(page, result)
    photo = painted(200, 320, 120, 100, 140)
    upload(page, "#photo-upload", "me.png", encode(photo))
    wait_for_another(page, result, example)
    assert page.locator("#photo-frames rect").count() == 1
    edited = source(page, result)
    page.locator("#photo-strength input[type=number]").fill("0.5")
    page.keyboard.press("Tab")
    wait_for_another(page, result, edited)
    with page.expect_download() as download:
        page.locator("#photo-result a.download").click()
    assert download.value.suggested_filename == "me_mask.png"
    with Image.open(download.value.path()) as image:
        assert image.size == (320, 200) and image.format == "PNG"
    wait_for_no_files(site[1])


def test_a_face_is_dressed_and_the_drawing_follows_the_controls(page, site):
    open_tab(page, "Wear")
    result = "#wear-result img.after"
    masked = source(page, result)
    page.locator("#form-Mask input").click()
    page.get_by_role("option", name="none", exact=True).click()
    wait_for_another(page, result, masked)
    assert source(page, result) == source(page, "#wear-result img:first-child")  # nothing is worn
    upload(page, "#texture-upload", "flower.png", b"no picture")
    page.wait_for_selector("text=flower.png: not an image, or its header is broken")
    wait_for_no_files(site[1])


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("text.png", b"no picture", "text.png: not an image, or its header is broken"),
        ("one.png", encode(np.zeros((1, 1, 3), np.uint8)), "one.png: tiny image (1 x 1; at least 16 x 16 is needed)"),
        ("huge.png", encode(np.zeros((2000, 2000), np.uint8)), "huge.png: enormous image (more than 2 megapixels)"),
        ("plain.png", encode(np.zeros((90, 90, 3), np.uint8)), "plain.png: no face found"),
    ],
    ids=["text", "one pixel", "enormous", "no face"],
)
def test_a_bad_file_is_one_line_and_the_page_goes_on(page, site, name, data, line):
    open_tab(page, "Photo")
    example = source(page, "#photo-frames img")
    source(page, "#photo-result img.after")
    upload(page, "#photo-upload", name, data)
    page.locator(f"text={line}").first.wait_for()
    page.wait_for_selector("#photo-upload input[type=file]", state="attached")
    upload(page, "#photo-upload", "me.png", encode(painted(200, 320, 120, 100, 140)))
    wait_for_another(page, "#photo-frames img", example)
    page.wait_for_selector("#photo-result img.after")
    wait_for_no_files(site[1])


def test_a_file_that_is_too_large_is_not_taken(page, site):
    open_tab(page, "Photo")
    source(page, "#photo-result img.after")
    upload(page, "#photo-upload", "large.png", bytes(2**20 + 2**18))
    page.locator(".toast-body").first.wait_for()
    wait_for_no_files(site[1])
