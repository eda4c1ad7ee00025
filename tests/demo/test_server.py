"""The server leaves nothing on the disk, and says in one line that Gradio is missing."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

from sdgan_jax.demo import photo_panel, server

ROOT = pathlib.Path(__file__).parents[2]


def test_the_folder_of_uploads_is_removed(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/before")
    with pytest.raises(KeyboardInterrupt), server.temporary_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == folder and os.listdir(folder) == []
        os.mkdir(os.path.join(folder, "upload"))
        raise KeyboardInterrupt
    assert not os.path.exists(folder) and os.environ["GRADIO_TEMP_DIR"] == "/before"


def test_uploads_that_nobody_took_are_deleted(tmp_path):
    for name, age in (("old", 300), ("new", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo.jpg").write_bytes(b"photo")
        os.utime(tmp_path / name / "photo.jpg", (1000 - age, 1000 - age))
    server.remove_leftovers(str(tmp_path), 120, 1000)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["new", "new/photo.jpg"]


def test_an_upload_is_taken_once_and_then_gone_in_one_line(tmp_path):
    (tmp_path / "hash").mkdir()
    path = tmp_path / "hash" / "me.jpg"
    path.write_bytes(b"photo")
    assert photo_panel.take_file(str(path)) == (b"photo", "me.jpg") and not path.parent.exists()
    with pytest.raises(ValueError, match="^the upload is gone before it was read; upload it again$"):
        photo_panel.take_file(str(path))


def test_without_gradio_there_is_one_line():
    program = (
        "import sys; sys.modules['gradio'] = None; sys.argv = ['demo']; from experiments import demo, launch; "
        "launch.run(demo.main)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.returncode == 1
    assert result.stderr == "error: the page needs Gradio; install it by pip install -e '.[demo]'\n"


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(OSError, match=f"--host=127.0.0.1 --port={port}: .* give another --port"),
            server.listening("127.0.0.1", port),
        ):
            pass


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
    ],
)
def test_the_address_of_the_page(host, expected):
    assert server.address(host, 80) == expected


def test_the_end_does_not_wait_for_a_computation():
    """The server ends while a request computes, again and again, without Gradio; XLA would abort at Python's end."""
    program = """
import sys
import jax
import jax.numpy as jnp
from experiments import demo, launch
from sdgan_jax.demo.worker import Worker

def serve(*arguments):
    worker = Worker()
    x = jnp.ones((300, 300))

    def compute(end):
        while True:
            jax.block_until_ready(jnp.tanh(x @ x))

    try:
        worker.run(compute, 0.5)
    except TimeoutError:
        worker.close()

demo.server.check_installed, demo.server.serve, demo.Studio = lambda: None, serve, lambda *arguments: None
demo.sdgan_jax.load, demo.finders.read_finder = lambda path: None, lambda path: None
sys.argv = ["demo"]
launch.run(demo.main)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")
