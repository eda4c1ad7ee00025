"""The builder on small numbers of images, prepared for real."""

import collections
import hashlib
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_megn
from tfds_megn import rendered, workers
from tfds_megn.params import ATTRIBUTES

REPOSITORY = pathlib.Path(tfds_megn.__file__).parent.parent
NUM_IMAGES = 60
SPLITS = {"train": 48, "validation": 6, "test": 6}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Data folder with 60 rendered faces of 64 pixels, drawn by workers."""
    folder = tmp_path_factory.mktemp("data")
    tfds_megn.data_source("rendered_64", data_dir=folder, num_images=NUM_IMAGES)
    return folder


def source(folder, split):
    return tfds_megn.data_source("megn/rendered_64", split=split, data_dir=folder, num_images=NUM_IMAGES)


def file_hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestPlan:
    """The 10,000 images of the default, without drawing them."""

    def test_sizes_are_80_10_10(self):
        sizes = {split: len(rendered.split_faces(split, 10_000)) for split in rendered.SPLITS}
        assert sizes == {"train": 8000, "validation": 1000, "test": 1000}

    @pytest.mark.parametrize("num_images", [30, 61, 1234, 10_000])
    def test_counts_people_and_balance(self, num_images):
        people = collections.Counter()
        names = collections.Counter()
        for split in rendered.SPLITS:
            faces = rendered.split_faces(split, num_images)
            counts = np.bincount([face.attribute for face in faces], minlength=6)
            assert counts.max() - counts.min() <= 1
            people.update({face.identity for face in faces})
            names.update(face.id for face in faces)
            per_person = collections.Counter(face.identity for face in faces)
            assert sorted(per_person.values())[1:] == [6] * (len(per_person) - 1)
        assert max(people.values()) == 1  # nobody is in two splits
        assert len(names) == num_images and max(names.values()) == 1

    def test_a_person_keeps_the_split_at_any_number(self):
        few, many = (
            {face.identity: split for split in rendered.SPLITS for face in rendered.split_faces(split, count)}
            for count in (300, 3000)
        )
        assert few.items() <= many.items()

    def test_neighbours_are_different_people(self):
        people = [face.identity for face in rendered.split_faces("train", 10_000)]
        assert np.mean(np.diff(people) == 0) < 0.01  # in random order: 5 / 7999


class TestRendered:
    def test_splits_and_features(self, prepared):
        for split, count in SPLITS.items():
            examples = list(source(prepared, split))
            assert len(examples) == count
            for example in examples:
                assert example["image"].shape == (64, 64, 3) and example["image"].dtype == np.uint8
                assert example["attributes"].shape == (5,) and example["attributes"].dtype == np.bool_
                assert example["params"].shape == (len(tfds_megn.PARAM_NAMES),)
                assert example["params"].dtype == np.float32
                worn = np.flatnonzero(example["attributes"]) + 1
                assert worn.tolist() == ([example["label"]] if example["label"] else [])
                identity, variant, name = example["id"].decode().split("_")
                assert name == ATTRIBUTES[example["label"]] and int(identity) == example["identity"]
                expected = tfds_megn.sample_params(int(identity), int(variant))
                np.testing.assert_array_equal(example["params"], expected)

    def test_image_is_the_render_of_its_params(self, prepared):
        for example in list(source(prepared, "test")):
            expected = tfds_megn.render(example["params"], ATTRIBUTES[example["label"]], 64)
            np.testing.assert_array_equal(example["image"], expected)

    def test_preparing_twice_gives_the_same_bytes(self, prepared, tmp_path, monkeypatch):
        monkeypatch.setattr(workers, "available_cores", lambda: 0)  # and in this process instead of workers
        tfds_megn.data_source("rendered_64", data_dir=tmp_path, num_images=NUM_IMAGES)
        assert file_hashes(tmp_path) == file_hashes(prepared)
        assert any("array_record" in name for name in file_hashes(tmp_path))

    def test_through_tfds(self, prepared):
        got = tfds.data_source(
            f"megn/rendered_64_n{NUM_IMAGES}",
            split="train[:10]",
            data_dir=prepared,
            builder_kwargs={"file_format": "array_record"},
        )
        assert [example["id"] for example in got] == [source(prepared, "train")[i]["id"] for i in range(10)]

    def test_says_where_once_and_nothing_when_prepared(self, tmp_path, capfd):
        for _ in range(2):
            tfds_megn.data_source("rendered_32", data_dir=tmp_path, num_images=30)[0]
        output = capfd.readouterr()
        lines = [line for line in output.err.split("\n") if line and "img/s" not in line]
        assert lines == [f"Preparing megn/rendered_32_n30/1.0.0 in {tmp_path}/megn/rendered_32_n30/1.0.0"]
        assert output.out == ""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"config": "rendered_65"}, "unknown config 'rendered_65'; there are rendered_32, rendered_64"),
            ({"split": "trian"}, "unknown split 'trian'; there are train, validation, test"),
            ({"config": "photos_32"}, "unknown config 'photos_32'"),
            ({"config": "rendered_64", "num_images": 29}, "num_images=29 is too few; at least 30"),
            ({"config": "photos_64", "num_images": 100}, "num_images is for the rendered configs"),
        ],
    )
    def test_refused_in_one_line(self, tmp_path, arguments, words):
        with pytest.raises(ValueError, match=words) as caught:
            tfds_megn.data_source(data_dir=tmp_path, **arguments)
        assert "\n" not in str(caught.value)

    def test_configs(self):
        names = [f"rendered_{size}" for size in (32, 64, 128, 256)]
        names += [f"photos_{size}" for size in (64, 128, 256, 512, 1024)]
        assert list(tfds_megn.Builder.builder_configs) == names
        assert tfds_megn.Builder.builder_configs["rendered_64"].num_images == 10_000

    def test_two_unguarded_scripts_at_once(self, tmp_path):
        """Neither has a __main__ guard; both prepare into one folder."""
        script, folder = tmp_path / "script.py", str(tmp_path / "data")
        script.write_text(
            "import sys, tfds_megn\n"
            "print('started')\n"
            f"faces = tfds_megn.data_source('rendered_64', data_dir={folder!r}, num_images=60)\n"
            "print(len(faces), faces[7]['id'].decode())\n"
            "print([name for name in ('jax', 'tensorflow', 'sdgan_jax') if name in sys.modules])\n"
        )
        command = [sys.executable, str(script)]
        environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "", "HOME": str(tmp_path)}
        runs = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        outputs = [run.communicate(timeout=120) for run in runs]
        assert [run.returncode for run in runs] == [0, 0], outputs
        assert outputs[0][0] == outputs[1][0]
        started, first, modules = outputs[0][0].splitlines()
        assert started == "started" and first.startswith("48 ") and modules == "[]"
        versions = list((tmp_path / "data" / "megn" / "rendered_64_n60").iterdir())
        assert [path.name for path in versions] == ["1.0.0"]  # and no unfinished folder


class TestWorkers:
    def test_order(self):
        tasks = list(range(40, 0, -1))
        got = list(workers.map_ordered(math.factorial, tasks, num_workers=2))
        assert got == [math.prod(range(1, task + 1)) for task in tasks]

    def test_errors_come_out_in_their_place(self):
        results = workers.map_ordered(int, ["1", "2", "three", "4", "5"], num_workers=2)
        assert [next(results), next(results)] == [1, 2]
        with pytest.raises(ValueError, match="three"):
            next(results)

    def test_leaving_early_ends_the_workers(self, monkeypatch):
        started = []
        start = workers._start
        monkeypatch.setattr(workers, "_start", lambda count: started.extend(start(count)) or started)
        results = workers.map_ordered(math.factorial, list(range(100)), num_workers=2)
        assert next(results) == 1
        results.close()
        assert len(started) == 2 and all(process.poll() is not None for process in started)

    def test_goes_on_alone_where_no_process_starts(self, monkeypatch, capfd):
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        assert list(workers.map_ordered(abs, [-1, -2, -3, -4, -5])) == [1, 2, 3, 4, 5]
        assert "no worker process" in capfd.readouterr().err

    def test_goes_on_alone_when_workers_die(self, monkeypatch, capfd):
        monkeypatch.setattr(workers, "_CHILD", "raise SystemExit")
        assert list(workers.map_ordered(abs, [-1, -2, -3, -4, -5], num_workers=2)) == [1, 2, 3, 4, 5]
        assert "a worker process ended early" in capfd.readouterr().err
