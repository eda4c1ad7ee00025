"""Preparation of photos, and the errors for photos that changed and data that cannot be written."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

import tfds_megn
from tfds_megn import photo_folder, photos, rendered, workers
from tfds_megn.data_dir import DataDirError
from tfds_megn.params import ATTRIBUTES

REPOSITORY = pathlib.Path(tfds_megn.__file__).parent.parent


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Computes in this process, which is faster than starting workers."""
    monkeypatch.setattr(workers, "available_cores", lambda: 0)


@pytest.fixture
def pictures(tmp_path):
    """Twelve photos, two per label, 24 x 24 and of one colour each; mask/0.png is red."""
    for index, name in enumerate(ATTRIBUTES):
        for number in range(2):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            colour = (255, 0, 0) if (name, number) == ("mask", 0) else (10 * index, 20 * number, 99)
            PIL.Image.new("RGB", (24, 24), colour).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def read_all(folder, **arguments):
    """Returns the examples of all splits by name; each split must have some."""
    examples = {}
    for split in rendered.SPLITS:
        members = {example["id"].decode(): example for example in tfds_megn.data_source(split=split, **arguments)}
        assert members and not members.keys() & examples.keys()
        examples.update(members)
    return examples


class TestPhotos:
    def test_labels_and_pixels(self, pictures, tmp_path, monkeypatch):
        monkeypatch.undo()  # In worker processes.
        (pictures / "mask" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        examples = read_all(tmp_path, config="photos_64", data_dir=tmp_path / "data", manual_dir=pictures)
        assert len(examples) == 12
        for name, example in examples.items():
            assert ATTRIBUTES[example["label"]] == name.split("/")[0]
            assert example["image"].shape == (64, 64, 3)
        np.testing.assert_array_equal(examples["mask/0.png"]["image"], np.broadcast_to([255, 0, 0], (64, 64, 3)))

    def test_skipped_files_are_listed_and_counted(self, pictures, tmp_path, capfd):
        (pictures / "mask" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        PIL.Image.new("RGB", (8, 8)).save(pictures / "none" / "tiny.png")
        (pictures / "beard" / "notes.txt").write_text("no image")
        data = (pictures / "beard" / "0.png").read_bytes()
        (pictures / "beard" / "half.png").write_bytes(data[: len(data) // 2])
        tfds_megn.data_source("photos_64", data_dir=tmp_path / "data", manual_dir=pictures)
        output = capfd.readouterr().err
        assert f"\n{pictures}: left out 1 file that is no image by the suffix: .txt (1)\n" in output
        lines = [line for line in output.split("\n") if line.startswith(("skipped", "warning"))]
        assert [line.split(":")[0].removeprefix(f"skipped {pictures}/") for line in lines[:3]] == [
            "beard/half.png",
            "mask/broken.jpg",
            "none/tiny.png",
        ]
        assert lines[3:] == [f"skipped 3 of 15 files of {pictures}"]
        builder = tfds_megn.Builder(config="photos_64", data_dir=tmp_path / "data")
        assert [f"skipped {line}" for line in builder.info.metadata["skipped"]] == lines[:3]

    def test_zip_given_as_the_folder(self, pictures, tmp_path):
        shutil.make_archive(str(tmp_path / "zipped" / "megn"), "zip", pictures)
        arguments = {"config": "photos_64", "data_dir": tmp_path / "data"}
        with pytest.raises(ValueError, match="megn.zip is a file; give the folder that holds it"):
            tfds_megn.data_source(manual_dir=tmp_path / "zipped" / "megn.zip", **arguments)
        assert len(read_all(tmp_path, manual_dir=tmp_path / "zipped", **arguments)) == 12

    def test_nothing_usable(self, tmp_path, capfd):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "labels.csv").write_text("file,label\na.png,mask\n")
        with pytest.raises(ValueError, match="0 usable photos .* cannot fill train, validation and test"):
            tfds_megn.data_source("photos_64", data_dir=tmp_path / "data", manual_dir=tmp_path / "photos")
        assert "a.png: not there (labels.csv line 2)" in capfd.readouterr().err

    def test_empty_class_is_named(self, pictures, tmp_path, capfd):
        for path in (pictures / "mustache").iterdir():
            path.unlink()
        tfds_megn.data_source("photos_64", data_dir=tmp_path / "data", manual_dir=pictures)
        assert f"warning: no usable photo of mustache in {pictures}; " in capfd.readouterr().err

    @pytest.mark.parametrize("make", [False, True])
    def test_no_photos(self, tmp_path, make):
        folder = tmp_path / "photos"
        if make:
            folder.mkdir()
        with pytest.raises(FileNotFoundError, match=f"{folder}.*folders named none, mask.*labels.csv") as caught:
            tfds_megn.data_source("photos_64", data_dir=tmp_path / "data", manual_dir=folder)
        assert "\n" not in str(caught.value)
        assert not list((tmp_path / "data").rglob("*.array_record*"))

    def test_dummy_data_are_photos_of_every_label(self):
        collection = photo_folder.scan(REPOSITORY / "tfds_megn" / "dummy_data")
        assert sorted({photo.label for photo in collection.photos}) == list(range(6))
        for photo in collection.photos:
            assert photos.read_photo(f"{photo.place}/{photo.file.member}").shape == (40, 32, 3)


class TestSplits:
    def test_copies_and_links_are_in_one_split(self, pictures, tmp_path, capfd):
        for number, name in enumerate(ATTRIBUTES):
            data = (pictures / name / "0.png").read_bytes()
            (pictures / name / "copy.png").write_bytes(data)
            (pictures / name / "link.png").symlink_to("0.png")
            (pictures / name / f"up{number}").symlink_to("..")
        shutil.copy(pictures / "mask" / "1.png", pictures / "none" / "of_a_mask.png")
        arguments = {"config": "photos_64", "data_dir": tmp_path / "data", "manual_dir": pictures}
        place = {
            example["id"].decode(): split
            for split in rendered.SPLITS
            for example in tfds_megn.data_source(split=split, **arguments)
        }
        assert len(place) == 25
        for name in ATTRIBUTES:
            assert place[f"{name}/0.png"] == place[f"{name}/copy.png"] == place[f"{name}/link.png"]
        assert place["mask/1.png"] == place["none/of_a_mask.png"]
        lines = capfd.readouterr().err.split("\n")
        assert (
            "warning: 1 image is there with different labels, such as mask/1.png and none/of_a_mask.png "
            f"in {pictures}" in lines
        )
        ends = [line for line in lines if line.endswith("a link to a folder that is read already")]
        assert len(ends) == len(ATTRIBUTES)

    def test_a_set_prepared_by_the_old_rule_is_prepared_anew(self, tmp_path):
        versions = {name: str(tfds_megn.Builder(config=name, data_dir=tmp_path).version) for name in ("photos_64",)}
        assert versions == {"photos_64": "1.3.0"}
        assert str(tfds_megn.Builder(config="rendered_64", data_dir=tmp_path).version) == "1.0.0"
        assert str(tfds_megn.Builder(config="natural_64", data_dir=tmp_path).version) == "1.1.0"
        assert str(tfds_megn.Builder(config="varied_64", data_dir=tmp_path).version) == "1.2.0"
        notes = tfds_megn.Builder(config="photos_64", data_dir=tmp_path).release_notes
        assert set(notes) == {"1.0.0", "1.1.0", "1.2.0", "1.3.0"}


class TestChanges:
    def test_photos_other_than_those_prepared_are_refused(self, pictures, tmp_path):
        arguments = {"config": "photos_64", "data_dir": tmp_path / "data", "manual_dir": pictures}
        tfds_megn.data_source(**arguments)
        (pictures / "mask" / "1.png").write_bytes((pictures / "mask" / "1.png").read_bytes() + b"x")
        line = r"was prepared from other photos than .* \(mask/1.png has other contents\); delete it to prepare"
        with pytest.raises(ValueError, match=line) as caught:
            tfds_megn.data_source(**arguments)
        assert "\n" not in str(caught.value)
        assert len(tfds_megn.data_source(**{**arguments, "manual_dir": tmp_path / "nowhere"})) > 3


class TestNames:
    def test_name_that_is_not_utf8(self, pictures, tmp_path):
        (pictures / "mask" / "0.png").rename(pictures / "mask" / os.fsdecode(b"caf\xe9.png"))
        (pictures / "none" / os.fsdecode(b"bad\xe9.png")).write_bytes(b"no image")
        arguments = {"config": "photos_64", "data_dir": tmp_path / "data", "manual_dir": pictures}
        examples = read_all(tmp_path, **arguments)
        assert len(examples) == 12 and "mask/caf\\xe9.png" in examples
        builder = tfds_megn.Builder(config="photos_64", data_dir=tmp_path / "data")
        assert builder.info.metadata["skipped"] == [
            f"{pictures}/none/bad\\xe9.png: not an image, or its header is broken"
        ]

    def test_home(self, pictures, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        arguments = {"config": "photos_64", "data_dir": "~/data", "manual_dir": "~/photos"}
        for _ in range(2):
            assert len(tfds_megn.data_source(**arguments)) >= 3
        assert (tmp_path / "data" / "megn").is_dir()


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of some kB; returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> pathlib.Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no disk can be mounted")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True)


class TestDataDir:
    """A folder of prepared data that cannot be written."""

    @pytest.mark.parametrize("size", [8, 40, 100, 150])  # In kB: no room for the converted photos, or for the shards.
    def test_full_disk(self, tmp_path, small_disk, size):
        for index, name in enumerate(ATTRIBUTES):
            (tmp_path / "photos" / name).mkdir(parents=True)
            noise = np.random.default_rng(index).integers(0, 256, (64, 64, 3)).astype(np.uint8)
            PIL.Image.fromarray(noise).save(tmp_path / "photos" / name / "0.png")
        folder = small_disk(f"size={size}k")
        arguments = {"config": "photos_64", "data_dir": folder, "manual_dir": tmp_path / "photos"}
        words = rf"^{folder}.*: no space left on the disk \(0.\d MiB free after .*\); set data_dir to another folder$"
        with pytest.raises(DataDirError, match=words):
            tfds_megn.data_source(**arguments)
        assert {path.name for path in folder.rglob("*") if path.is_file()} <= {"metadata.json"}
        assert not list((folder / "megn").glob("photos_64/*")) if (folder / "megn").exists() else True

    def test_a_file_that_may_not_grow(self, tmp_path):
        """As for a quota: rendered faces, in a process of its own."""
        program = (
            "import resource, sys, tfds_megn\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
            "from tfds_megn import workers\n"
            "workers.available_cores = lambda: 0\n"
            "try:\n    tfds_megn.data_source('rendered_32', data_dir=sys.argv[1], num_images=30)\n"
            "except OSError as error:\n    print(error)\n"
        )
        environment = dict(os.environ, PYTHONPATH=str(REPOSITORY))
        result = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment, timeout=120
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(f"{tmp_path}: a file grew beyond the allowed size (")
        assert not list(tmp_path.glob("megn/rendered_32_n30/*"))

    def test_read_only_disk(self, small_disk):
        folder = small_disk("size=1m,ro")
        words = rf"^{folder}\S*: cannot be written \(Read-only file system\); set data_dir to another folder$"
        with pytest.raises(DataDirError, match=words):
            tfds_megn.data_source("rendered_32", data_dir=folder, num_images=30)

    @pytest.mark.parametrize("kind", ["file", "below a file", "dangling", "home"])
    def test_no_folder(self, tmp_path, kind, monkeypatch):
        (tmp_path / "file").write_text("")
        (tmp_path / "dangling").symlink_to("nowhere/at/all")
        name = {"below a file": "file/x", "home": None}.get(kind, kind)
        data_dir = tmp_path / name if name else None
        if kind == "home":
            monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "file" / "tensorflow_datasets"))
        words = rf"^{tmp_path}/\S+: cannot be written \(.*\); set data_dir to another folder$"
        with pytest.raises(DataDirError, match=words):
            tfds_megn.data_source("rendered_32", data_dir=data_dir, num_images=30)

    def test_name_that_is_not_utf8(self, tmp_path):
        folder = tmp_path / os.fsdecode(b"caf\xe9")
        with pytest.raises(DataDirError, match=r"/caf\\xe9: cannot be written .*not UTF-8\); set data_dir to another"):
            tfds_megn.data_source("rendered_32", data_dir=folder, num_images=30)
        assert not folder.exists()

    def test_prepared_data_on_a_read_only_disk_are_read(self, pictures, tmp_path, small_disk):
        folder = small_disk("size=4m")
        arguments = {"config": "photos_64", "data_dir": folder, "manual_dir": pictures}
        tfds_megn.data_source(**arguments)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert len(tfds_megn.data_source(**arguments)) >= 3
