"""Measurements of position maps, verification and attire, on inputs whose error is known."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

import tfds_megn
from sdgan_jax import pictures
from sdgan_jax.config.networks import PRNetConfig
from sdgan_jax.data import rendered
from sdgan_jax.data.photo_files import PhotoFile
from sdgan_jax.evaluation import networks
from sdgan_jax.face3d import layout
from sdgan_jax.nets.prnet import ResFCN
from sdgan_jax.training.networks import prnet


def faces(count, size):
    params = np.stack([tfds_megn.sample_params(identity, 1) for identity in range(count)])
    labels = np.arange(count, dtype=np.int32) % 6
    images = tfds_megn.render(params, labels.tolist(), size)
    return rendered.Faces(images, labels, np.arange(count, dtype=np.int32), params)


class Knowing:
    """Gives the true maps of these faces in the pixels of pictures of `pixels`, moved by `error`; in their order."""

    def __init__(self, params, size, pixels, error):
        truth = np.stack([tfds_megn.position_map(p, size) for p in params])
        truth = (truth + [0.5, 0.5, 0]) * (pixels / size) - [0.5, 0.5, 0] + error
        self._maps = jnp.asarray(truth, jnp.float32)
        self.net, self.layout, self.uv_layout = types.SimpleNamespace(size=size), "megn", layout.megn(size)

    def __call__(self, images):
        assert len(images) == len(self._maps)
        return self._maps


def test_errors_are_those_put_in_and_each_group_has_its_faces():
    some = faces(8, 64)
    table = networks.measure_position_maps(Knowing(some.params, 32, 64, [0.6, -0.8, 2.0]), some)
    expected = []
    for params in some.params:
        x, y, _ = tfds_megn.landmarks(params, 64).T
        expected.append(100 / np.sqrt((x.max() - x.min()) * (y.max() - y.min())))  # moved by one pixel
    expected = np.array(expected)
    assert table["all"]["faces"] == 8 and table["none"]["faces"] == 2 and table["any attribute"]["faces"] == 6
    # The box is read off a map of 32 texels, within half of a per cent.
    assert table["all"]["landmarks"] == pytest.approx(expected.mean(), rel=0.01)
    assert table["none"]["face"] == pytest.approx(expected[[0, 6]].mean(), rel=0.01)
    assert table["mask"]["face_3d"] == pytest.approx(expected[[1, 7]].mean() * np.sqrt(5), rel=0.01)


def test_a_perfect_map_has_no_error():
    some = faces(2, 64)
    table = networks.measure_position_maps(Knowing(some.params, 64, 64, 0.0), some)
    assert table["all"]["landmarks"] < 0.01 and table["all"]["face_3d"] < 0.01
    assert list(table) == ["none", "mask", "any attribute", "all"]


def test_both_judges_are_measured_on_each_attribute(monkeypatch):
    """The classifier sees a mask in every face but those of even shade; faces are taken for faces from shade 3 on."""
    images = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    labels = np.int32([0, 1, 0, 1, 0, 1, 2, 2])
    some = rendered.Faces(images, labels, labels, np.zeros((8, 1), np.float32))

    def judge(pixels):
        even = jnp.round((pixels[:, 0, 0, 0] + 1) * 127.5).astype(int) % 2 == 0
        return jnp.where(even[:, None], jax.nn.one_hot(0, 6), jax.nn.one_hot(1, 6)), pixels[:, 0, 0]

    monkeypatch.setattr(networks.attributes, "make_is_face", lambda network: lambda found: found[:, 0, 0, 0] >= 3)
    table = networks.measure_attributes(judge, None, some)
    assert table["none"] == {"recognised": 1.0, "a face": pytest.approx(1 / 3), "faces": 3}
    assert table["mask"] == {"recognised": 1.0, "a face": pytest.approx(2 / 3), "faces": 3}
    assert table["eyeglasses"] == {"recognised": 0.0, "a face": 1.0, "faces": 2}
    assert table["all"] == {"recognised": 0.75, "a face": pytest.approx(5 / 8), "faces": 8}


def test_the_overlap_of_two_regions():
    first, second = np.zeros((4, 4)), np.zeros((4, 4))
    first[:2], second[1:3] = 1.0, 1.0
    second[1, 0] = 0.5
    assert networks.overlap(first, second) == pytest.approx((3 + 0.5) / 12)


def test_a_network_of_another_layout_is_refused():
    network = types.SimpleNamespace(net=types.SimpleNamespace(size=32), layout="prnet")
    with pytest.raises(ValueError, match="as prnet has it; rendered faces are known as megn"):
        networks.measure_position_maps(network, faces(1, 32))


def test_verification_holds_the_right_pictures_against_each_other():
    """The network reads a person off the first pixel; what is worn hides it, of half the persons."""
    persons, photos = 20, 2
    identities = np.tile(np.arange(persons, dtype=np.int32), photos)
    plain = np.zeros((persons * photos, 16, 16, 3), np.uint8)
    plain[:, 0, 0, 0] = 12 * identities
    stored = plain.copy()
    stored[(identities % 2 == 0) & (np.arange(40) >= persons), 0, 0, 0] = 255
    some = rendered.Faces(stored, np.repeat(np.int32([0, 1]), persons), identities, np.zeros((40, 1), np.float32))
    pairs = rendered.draw_pairs(some, 20, 1000)

    def network(images):
        number = jnp.round((images[:, 0, 0, 0] + 1) * 127.5 / 12).astype(int)
        return jax.nn.one_hot(number, 22)

    table = networks.verify_pairs(network, plain, stored, pairs, far=0.01)
    assert table["neither wears anything"]["accuracy"] == table["neither wears anything"]["tar_at_far"] == 1.0
    one = table["one wears something"]
    assert (one["accuracy"], one["tar_at_far"], one["same"], one["different"]) == (0.75, 0.5, 20, 1000)
    assert table["as stored"]["tar_at_far"] == 0.0  # all who are hidden look the same


@pytest.mark.parametrize(
    ("persons", "others", "attribute", "count"), [(10, 95, 1, 10), (9, 95, 1, 9), (10, 95, 0, 0), (1, 0, 1, 1)]
)
def test_verification_of_too_few_pairs_is_left_out_with_a_note(capsys, persons, others, attribute, count):
    """Two photographs of a person, the second with an attribute, are a pair; ten folds need ten of them."""
    identities = np.int32([*np.repeat(np.arange(persons), 2), *np.arange(persons, persons + others)])
    params = np.stack([tfds_megn.sample_params(person, 1) for person in identities])
    labels = np.int32([*np.tile([0, attribute], persons), *np.zeros(others)])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 16, 16, 3), dtype=np.uint8)
    table = networks.measure_verification(
        lambda images: images[:, 0, 0] / 2, rendered.Faces(images, labels, identities, params)
    )
    if count == 10:
        assert {row["same"] for row in table.values()} == {10} and not capsys.readouterr().err
    else:
        line = f"note: verification is not measured: {2 * persons + others} faces give {count} pairs of one person and "
        assert table is None and line in capsys.readouterr().err


def found_at(position_map):
    return [types.SimpleNamespace(position_map=position_map, score=0.75)]


def test_attire_by_the_true_map_overlaps_fully_and_by_no_map_not_at_all(monkeypatch):
    """A face found where it is, one not found, and one found 8 pixels too far right."""
    some = faces(3, 32)
    truth = [tfds_megn.position_map(params, 256).astype(np.float32) for params in some.params]
    answers = iter([found_at(truth[0]), [], found_at(truth[2] + np.float32([8, 0, 0]))])

    def wear(image, position_map, name):
        """Covers ten rows of 20 pixels from the middle texel on."""
        x, y = np.round(np.asarray(position_map)[128, 128, :2]).astype(int)
        coverage = np.zeros((256, 256), np.float32)
        coverage[y : y + 10, x : x + 20] = 1.0
        return image, coverage

    monkeypatch.setattr(networks.wear, "wear", wear)
    network = types.SimpleNamespace(
        layout="megn", uv_layout=layout.megn(32), make_find=lambda: lambda _, most: next(answers)
    )
    monkeypatch.setattr(jax, "jit", lambda function: function)
    table, sheet = networks.measure_attire_overlap(network, some.params)
    # 20 columns of which 12 are shared: 12 of 28.
    for name in (*tfds_megn.ATTRIBUTES[1:], "all"):
        assert table[name]["overlap"] == pytest.approx((1 + 0 + 12 / 28) / 3)
        assert (table[name]["faces"], table[name]["not found"]) == (3, 1)
    assert sheet.shape[0] > 3 * 128 and sheet.shape[1] > 10 * 128


def test_photos_are_sketched_scored_and_skipped(tmp_path, monkeypatch):
    """A photo with a face, one without, and a file that is no photo; none of the three ends the others."""
    plain = np.full((40, 60, 3), 90, np.uint8)
    for name in ("face.png", "wall.png"):
        pictures.write_png(tmp_path / name, plain)
    (tmp_path / "text.png").write_text("no picture")
    files = [PhotoFile(name, epath.Path(tmp_path / name)) for name in ("face.png", "text.png", "wall.png")]
    j, i = np.meshgrid(np.linspace(10, 30, 32), np.linspace(10, 30, 32))
    answers = iter([found_at(np.stack([j, i, 0 * i], -1).astype(np.float32)), []])
    monkeypatch.setattr(jax, "jit", lambda function: function)
    network = types.SimpleNamespace(
        layout="megn", uv_layout=layout.megn(32), make_find=lambda: lambda _, most: next(answers)
    )
    sheet, scores, notes = networks.photo_sheet(network, files)
    assert scores == {files[0].label: 0.75, files[2].label: None}
    assert len(notes) == 1 and "text.png" in notes[0]
    face, wall = sheet[2:258, 2:258], sheet[2:258, 260:516]
    colours = np.unique(wall.reshape(-1, 3), axis=0)
    assert {tuple(colour) for colour in colours} == {(90, 90, 90), (255, 255, 255)}  # nothing is drawn
    assert len(np.unique(face.reshape(-1, 3), axis=0)) > 10
    assert networks.photo_sheet(network, files[1:2])[0] is None


def test_the_score_of_a_checkpoint_is_minus_the_landmark_error(monkeypatch):
    config, some = PRNetConfig(dataset="megn/rendered_64_n600", channels=2), faces(3, 64)
    truth = np.stack([tfds_megn.position_map(params, 64) for params in some.params])
    monkeypatch.setattr(rendered, "read", lambda *args: some)
    monkeypatch.setattr(prnet, "predict", lambda net, variables, images: jnp.asarray(truth) + variables["move"])
    state = prnet.State(0, {"move": np.float32([3.0, 4.0, 9.0])}, None)
    boxes = [np.ptp(tfds_megn.landmarks(params, 64)[:, :2], axis=0) for params in some.params]
    expected = np.mean([100 * 5 / np.sqrt(width * height) for width, height in boxes])
    assert networks.make_position_score(config)(state) == pytest.approx(-expected, rel=0.02)


def test_a_prediction_of_training_is_that_of_the_network_that_is_written():
    net = ResFCN(32, 2)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    variables = jax.jit(net.init)(jax.random.key(0, impl="unsafe_rbg"), images)
    output = jax.jit(net.apply)(variables, np.concatenate([images, images[:, :, ::-1]]) / 2 + 0.5)
    predicted = jax.jit(functools.partial(prnet.predict, net))(variables, images)
    straight, turned = np.split((np.float64(output) - [0.0, 0.0, 0.5]) * 1.1 * 32, 2)
    turned = turned[:, :, ::-1] * [-1.0, 1.0, 1.0] + [31.0, 0.0, 0.0]
    np.testing.assert_allclose(predicted, (straight + turned) / 2, atol=1e-3)
