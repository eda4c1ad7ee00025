"""Models from the arrays of a file: config, average w, and arrays that do not fit."""

import numpy as np
import pytest

from sdgan_jax.config import GeneratorConfig
from sdgan_jax.importers import rosinality
from sdgan_jax.importers.assembly import Parts, assemble, channel_rule
from sdgan_jax.importers.pickles import FileError
from tests.importers import files, writer


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ((512, 512, 512, 512), (32768, 512, ())),
        ((512, 512, 512, 512, 256), (16384, 512, ())),
        ((512, 512, 512, 512, 256, 128, 64), (16384, 512, ())),
        ((512, 512, 512, 512, 512, 256, 128, 64, 32), (32768, 512, ())),
        ((64, 64, 32), (512, 64, ())),
        ((8, 6, 10), (32768, 512, (8, 6, 10))),
    ],
)
def test_channel_rules(widths, expected):
    config = GeneratorConfig(**channel_rule(list(widths)))
    assert (config.channel_base, config.channel_max, config.channels) == expected


def test_the_average_w_is_computed_where_the_file_has_none(tmp_path):
    tree = files.rosinality_tree()
    del tree["latent_avg"]
    model = files.read(tmp_path, writer.torch_zip(tree))
    assert model.notes == ["the file has no average w; it was computed from 10000 latents"]
    z = np.random.default_rng(5).standard_normal((20_000, files.DIM)).astype(np.float32)
    x = z / np.sqrt(np.mean(z**2, 1, keepdims=True) + 1e-8)
    for i in range(files.LAYERS):
        x = (
            x @ (files.STATE_G[f"mapping.fc{i}.weight"].T * 0.01 / np.sqrt(files.DIM))
            + 0.01 * files.STATE_G[f"mapping.fc{i}.bias"]
        )
        x = np.where(x > 0, x, 0.2 * x) * np.sqrt(2)
    deviation = x.std(0) / np.sqrt(10_000)
    assert (np.abs(model.trees["w_avg"] - x.mean(0)) < 6 * deviation).all()


def test_missing_unexpected_and_misshaped_keys_are_counted_and_named(tmp_path):
    tree = files.rosinality_tree()
    state = tree["g_ema"]
    for i in range(5):
        state[f"extra.{i}"] = np.ones(2, np.float32)
    del state["convs.0.noise.weight"], state["style.1.bias"]
    state["to_rgb1.bias"] = np.ones((1, 4, 1, 1), np.float32)
    with pytest.raises(FileError) as raised:
        files.read(tmp_path, writer.torch_zip(tree))
    assert str(raised.value) == (
        f"{tmp_path / 'x'}: the generator does not fit a StyleGAN2; 2 missing (style.1.bias, "
        "convs.0.noise.weight); 5 unexpected (extra.0, extra.1, extra.2, and 2 more); "
        "1 misshaped (to_rgb1.bias is [1, 4, 1, 1], expected [1, 3, 1, 1])"
    )


def test_an_average_w_of_another_length_is_refused(tmp_path):
    with pytest.raises(FileError, match=r"x: the average w is \[5\] or not finite; it must be \[12\]"):
        files.read(tmp_path, writer.torch_zip(files.rosinality_tree(latent_avg=np.ones(5, np.float32))))


@pytest.mark.parametrize("resolution", [4, 12, 2048])
def test_other_resolutions_are_refused(resolution):
    line = f"^x: images of {resolution} pixels; it must be a power of two from 8 to 1024"
    with pytest.raises(FileError, match=line):
        assemble("x", rosinality.FORMAT, Parts(resolution, 2, {}))


def test_public_models_draw_faces_in_the_crop_of_ffhq(tmp_path):
    assert files.read(tmp_path, writer.torch_zip(files.rosinality_tree())).config.face_crop == "ffhq"


def test_an_average_w_with_a_leading_axis_and_no_discriminator(tmp_path):
    tree = files.rosinality_tree()
    model = files.read(tmp_path, writer.torch_zip({"g": tree["g_ema"], "latent_avg": tree["latent_avg"][None]}))
    assert "params_d" not in model.trees
    assert model.notes == [
        "the file has no g_ema (the averaged generator); g was taken",
        "the file has no discriminator",
    ]
