"""Result files: marked with the command, written atomically, never over a file of another origin."""

import errno
import io
import json
import os

import fsspec
import numpy as np
import pytest
from etils import epath
from PIL import Image, PngImagePlugin

from sdgan_jax import outputs, pictures
from sdgan_jax.pretrained import archive
from tests import object_store

BY = "sdgan-jax wear"
IMAGE = np.full((20, 30, 3), 90, np.uint8)


def test_every_kind_of_file_says_who_wrote_it(tmp_path):
    pictures.write_png(tmp_path / "a.png", IMAGE, BY, icc_profile=b"x" * 3000)
    pictures.write_jpeg(tmp_path / "a.jpg", IMAGE, BY, icc_profile=b"x" * 200_000)
    outputs.write_json(tmp_path / "a.json", {"score": 1.5}, BY)
    outputs.write_text(tmp_path / "a.txt", "score 1.5\n", BY)
    for name in ("a.png", "a.jpg", "a.json", "a.txt"):
        assert outputs.made_by(tmp_path / name) == BY, name
    assert Image.open(tmp_path / "a.png").text == {"Software": BY}
    assert Image.open(tmp_path / "a.jpg").info["comment"] == BY.encode()
    assert json.loads((tmp_path / "a.json").read_text()) == {"made_by": BY, "score": 1.5}
    assert (tmp_path / "a.txt").read_text() == f"# made by {BY}\nscore 1.5\n"
    pictures.write_png(tmp_path / "a.png", IMAGE + 1, BY)  # its own file is written anew
    assert np.asarray(Image.open(tmp_path / "a.png"))[0, 0, 0] == 91


def png_of(software):
    info, encoded = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("Software", software)
    Image.fromarray(IMAGE).save(encoded, "png", pnginfo=info)
    return encoded.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", png_of("GIMP"), png_of("sdgan-jax generate"),
     b'{"score": 1, "made_by": "sdgan-jax wear"}', b"made by sdgan-jax wear"],
)  # fmt: skip
def test_a_file_of_others_is_never_replaced(tmp_path, content):
    """Nor one of another command of this program."""
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="a.png exists and was not written by sdgan-jax wear; .* another --out"):
        pictures.write_png(path, IMAGE, BY)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["a.png"]


def test_links_folders_and_pipes_are_not_files_of_ours(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")  # to read it would never end
    for name in ("folder.png", "link.png", "pipe.png"):
        with pytest.raises(FileExistsError, match=name):
            outputs.check_own([tmp_path / "new.png", tmp_path / name], BY)


def test_all_paths_to_a_file_have_its_key(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    os.link(tmp_path / "a", tmp_path / "hard")
    (tmp_path / "soft").symlink_to("a")
    keys = [outputs.file_key(tmp_path / name) for name in ("a", "hard", "soft", "b", "gone")]
    assert keys[0] == keys[1] == keys[2] != keys[3] and keys[4] is outputs.file_key("gs://bucket/a") is None


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.bin"
    with pytest.raises(KeyboardInterrupt):
        with outputs.in_one_piece(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise KeyboardInterrupt
    assert os.listdir(path.parent) == []
    path.write_bytes(b"former")
    for code, reason, of_the_disk in (
        (errno.ENOSPC, "no space left on the disk", True),
        (errno.EDQUOT, "the disk quota is used up", True),
        (errno.EFBIG, "a file grew beyond the allowed size", False),
    ):
        with pytest.raises(OSError) as raised:
            with outputs.in_one_piece(path) as unfinished:
                unfinished.write_bytes(b"half")
                raise OSError(code, os.strerror(code))
        assert raised.value.filename == str(path) and outputs.stops_all(raised.value) == of_the_disk
        assert raised.value.strerror.startswith(f"cannot be written, {reason}; ")
        assert raised.value.strerror.endswith("iB free")
        assert os.listdir(path.parent) == ["a.bin"] and path.read_bytes() == b"former"


def test_a_folder_appears_in_one_piece_too(tmp_path):
    target = tmp_path / "model"
    with pytest.raises(RuntimeError):
        with outputs.in_one_piece(target) as folder:
            folder.mkdir()
            (folder / "weights").write_bytes(b"1")
            raise RuntimeError
    assert os.listdir(tmp_path) == []
    with outputs.in_one_piece(target) as folder:
        folder.mkdir()
        (folder / "weights").write_bytes(b"1")
    assert os.listdir(tmp_path) == ["model"] and os.listdir(target) == ["weights"]


def test_the_error_names_the_file_and_not_the_unfinished_one(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("x" * 256, "file/a.png"):
        with pytest.raises(OSError) as raised:
            pictures.write_png(tmp_path / name, IMAGE, BY)
        assert raised.value.filename == str(tmp_path / name) and not outputs.stops_all(raised.value)


def test_a_folder_is_locked_against_other_calls(tmp_path):
    folder = tmp_path / "new" / "results"
    with outputs.alone_in(folder):
        with pytest.raises(RuntimeError, match=f"^another call is writing into {folder}; wait for its end, or give"):
            with outputs.alone_in(folder):
                pass
        with outputs.alone_in(tmp_path / "other"):
            pass
    with outputs.alone_in(folder):
        assert os.listdir(folder) == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    outputs.check_folder(tmp_path)
    outputs.check_folder(tmp_path / "new")
    with pytest.raises(ValueError, match=f"^--out={tmp_path}/file is not a folder; give a folder"):
        outputs.check_folder(tmp_path / "file")
    with pytest.raises(ValueError, match=f"^--out={tmp_path}/file/a/b: {tmp_path}/file is not a folder; give a folder"):
        outputs.check_folder(tmp_path / "file" / "a" / "b")


def test_remote_paths_are_told_by_their_scheme(tmp_path):
    assert outputs.is_remote("gs://bucket/folder") and not outputs.is_remote(tmp_path)


def test_digests_differ_where_arrays_do():
    trees = [
        {"a": {"b": np.zeros(2)}},
        {"a": {"b": np.ones(2)}},
        {"a": {"c": np.zeros(2)}},
        {"a": {"b": np.zeros((1, 2))}},
    ]
    assert len({archive.fingerprint(tree) for tree in trees}) == 4
    assert archive.fingerprint({"a": 1.0, "b": 2.0}) == archive.fingerprint({"b": 2.0, "a": 1.0})


def test_a_local_text_grows_and_a_remote_one_is_written_anew(tmp_path, monkeypatch):
    for path in (tmp_path / "a.txt", f"{object_store.install(monkeypatch)}/a.txt"):
        outputs.append(path, "one\n")
        outputs.append(path, "two\n")
        assert epath.Path(path).read_text() == "one\ntwo\n"


def test_folders_are_moved_with_all_that_is_in_them(tmp_path, monkeypatch):
    for root in (epath.Path(tmp_path), epath.Path(object_store.install(monkeypatch))):
        for name in ("a.txt", "b/c/d.txt"):
            (root / "old" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "old" / name).write_text(name)
        outputs.move_folder(root / "old", root / "new")
        assert not (root / "old").exists()
        assert [(root / "new" / name).read_text() for name in ("a.txt", "b/c/d.txt")] == ["a.txt", "b/c/d.txt"]


def test_only_files_are_read(tmp_path):
    """Opening the pipe would wait for ever; the link leads to a file."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "link"):
        outputs.check_file(tmp_path / name, name)
    for name, line in (
        (".", "--x is a folder; give a table"),
        ("pipe", "--x is a pipe or device; give a table"),
        ("/dev/zero", "--x is a pipe or device; give a table"),
        ("foo://bar", "foo://bar: foo:// is unknown; gs:// and s3:// are read"),
        ("nowhere", "--x: there is no such file"),
        ("file/x", "--x: there is no such file"),
    ):
        path = name if "://" in name else tmp_path / name
        with pytest.raises((ValueError, FileNotFoundError)) as raised:
            outputs.check_file(path, "--x", "a table")
        assert str(raised.value) == line


def test_remote_paths_name_the_package_that_is_missing(monkeypatch):
    def missing(scheme):
        raise ImportError("Please install it")

    outputs.check_scheme("runs/x")
    for scheme in ("foo", "memory", "http"):
        with pytest.raises(ValueError, match=f"^{scheme}://x: {scheme}:// is unknown; gs:// and s3:// are read$"):
            outputs.check_scheme(f"{scheme}://x")
    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    for scheme, extra in (("gs", "gcs"), ("s3", "s3")):
        line = rf"^{scheme}://b: a package that reads {scheme}:// is missing; pip install -e '\.\[{extra}\]'$"
        with pytest.raises(ValueError, match=line):
            outputs.check_scheme(f"{scheme}://b")
