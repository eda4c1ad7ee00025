"""Files below folders with links of every kind."""

import os

from etils import epath

from tfds_megn import listing


def test_each_folder_is_read_once(tmp_path):
    for name in ("a/1.png", "a/b/2.png", "c/3.png", ".git/4.png", "__MACOSX/5.png", "c/Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "0").symlink_to("c")  # before its target in the alphabet
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "b" / "round").symlink_to("../../a")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "itself").symlink_to("itself")
    os.mkfifo(tmp_path / "pipe")
    found = listing.list_files(epath.Path(tmp_path))
    assert list(found.files) == ["a/1.png", "a/b/2.png", "c/3.png"]
    assert found.files["a/b/2.png"] == epath.Path(tmp_path) / "a/b/2.png"
    links = [f"{tmp_path}/{link}: a link to a folder that is read already" for link in ("0", "a/b/round", "a/up")]
    others = [f"{tmp_path}/dangling: a link to nothing", f"{tmp_path}/itself: a link to itself"]
    assert sorted(found.notes) == sorted([*links, *others, f"{tmp_path}/pipe: a pipe or device"])


def test_a_folder_elsewhere_is_read_through_the_first_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "1.png").write_bytes(b"1")
    (tmp_path / "here").mkdir()
    for name in ("x", "y"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "far")
    found = listing.list_files(epath.Path(tmp_path / "here"))
    assert list(found.files) == ["x/1.png"] and len(found.notes) == 1
    left_out = listing.list_files(epath.Path(tmp_path / "here"), leave_out=[epath.Path(tmp_path / "far")])
    assert not left_out.files


def test_links_lead_to_no_folder_above(tmp_path):
    """Above are files that nobody asked for; those of a folder beside it are read."""
    for name in ("1.png", "in/2.png", "in/a/3.png", "inside/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    links = {"in/up": "..", "in/a/up": "../..", "inside/up": tmp_path, "in/beside": tmp_path / "inside"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    found = listing.list_files(epath.Path(tmp_path / "in"))
    assert list(found.files) == ["2.png", "a/3.png", "beside/4.png"]
    above = [f"{tmp_path}/in/{link}: a link to a folder above it" for link in ("a/up", "beside/up", "up")]
    assert sorted(found.notes) == above


def test_text_that_can_be_printed():
    assert listing.printable(os.fsdecode(b"caf\xe9/\xc3\xa9.png")) == "caf\\xe9/\u00e9.png"
    assert listing.printable("a\nb\r.png") == "a\\nb\\r.png"
    names = ["a.JPG", "b.jpg", "c", os.fsdecode(b"d.\xe9")]
    assert listing.count_by_suffix(names) == ".jpg (2), .\\xe9 (1), no suffix (1)"


def test_errors_on_one_line():
    assert listing.one_line(ValueError("  bad\n header\t1 ")) == "bad header 1"
    assert listing.one_line(EOFError()) == "EOFError"
