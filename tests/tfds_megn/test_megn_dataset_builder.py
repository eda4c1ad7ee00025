"""The builder on small numbers of images, prepared for real."""

import hashlib
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfds_megn
from tfds_megn import workers
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
        for config in ("rendered_32", "megn/rendered_32:1.0.0"):
            tfds_megn.data_source(config, data_dir=tmp_path, num_images=30)[0]
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
            ({"config": "rendered_64", "num_images": 60.0}, "num_images=60.0 is no int"),
            (
                {"config": "rendered_64_n30", "num_images": 60},
                "images, not for rendered_64_n30",
            ),
            ({"config": "rendered_064"}, "unknown config 'rendered_064'"),
            ({"config": "rendered_32_n40:9.9.9"}, "unknown version '9.9.9' of rendered_32_n40; there is 1.0.0"),
            (
                {"config": "megn/rendered_32:", "num_images": 30},
                "unknown version '' of rendered_32_n30; there is 1.0.0",
            ),
            ({"config": "photos_64:1.0.0"}, "unknown version '1.0.0' of photos_64; there is 1.3.0"),
            ({"config": "photos_64", "num_images": 100}, "num_images is for the configs of drawn faces"),
        ],
    )
    def test_refused_in_one_line(self, tmp_path, arguments, words):
        with pytest.raises(ValueError, match=words) as caught:
            tfds_megn.data_source(data_dir=tmp_path, **arguments)
        assert "\n" not in str(caught.value)

    def test_configs(self):
        names = [f"rendered_{size}" for size in (32, 64, 128, 256)]
        names += [f"{source}_{size}" for source in ("natural", "varied") for size in (64, 128)]
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
