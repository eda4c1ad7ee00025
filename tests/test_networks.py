"""The networks of a config with the trained networks that come with the project: inputs of F, identity features."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tfds_megn
from sdgan_jax import config as config_lib
from sdgan_jax.networks import make_networks
from tests.training import tiny

NAMES = ("none", "mask", "beard")


def config(**fusion):
    small = config_lib.FusionConfig(width=4, width_max=8, blocks=1, kernel=3, **fusion)
    return tiny.config(resolution=32, fusion=small)


def faces(*identities, attribute="none"):
    images = tfds_megn.render(np.stack([tfds_megn.sample_params(i) for i in identities]), attribute, 32)
    return jnp.asarray(images / np.float32(127.5) - 1)


def grown(params):
    """Parameters of which none is at a start that hides the rest, such as the regressor's scale of 0."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape).astype(np.float32), params)


def test_the_shape_of_a_face_is_that_of_the_position_network():
    nets = make_networks(config_lib.validate(config(use_3d=True)))
    images = faces(3, 4)
    face3d, template = jax.jit(nets.fusion_inputs)(images, jnp.zeros((2, 3)))
    assert template is None and face3d.maps.shape == (2, 64, 64, 9) and face3d.image_regions.shape == (2, 8, 8, 6)
    # The mouth is painted below the eyes, about where the truth has it: cells of four pixels.
    rows = np.arange(8)[:, None]
    for i, person in enumerate((3, 4)):
        _, y, _ = tfds_megn.landmarks(tfds_megn.sample_params(person), 32).T
        mouth = np.asarray(face3d.image_regions[i, ..., 2])
        assert abs((mouth * rows).sum() / mouth.sum() * 4 + 1.5 - y[48:].mean()) < 2.5


def test_offsets_depend_on_the_shape():
    nets = make_networks(config(use_3d=True))
    params = grown(jax.jit(lambda: nets.init_f(jax.random.key(0)))())
    attributes, images = jnp.array([[0.0, 1.0, 0.0]] * 2), faces(3, 4)
    offset = jax.jit(nets.offset)
    assert offset(params, images, attributes).shape == (2, 1, 12)
    still = jax.tree.map(jnp.zeros_like, params["style"])
    changed = offset(params, images, attributes) - offset(params | {"style": still}, images, attributes)
    assert np.abs(changed).max() > 1e-3
    assert np.abs(offset(params, images, jnp.eye(3)[:1].repeat(2, 0))).max() == 0


def test_no_gradient_enters_the_position_network():
    nets, images = make_networks(config(use_3d=True)), faces(3)
    variables = nets.position.variables

    def maps(params_position):
        position = dataclasses.replace(nets.position, variables=variables | {"params": params_position})
        other = dataclasses.replace(nets, position=position)
        return other.fusion_inputs(images, jnp.zeros((1, 3)))[0].maps.sum()

    gradient = jax.jit(jax.grad(maps))(variables["params"])
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(gradient))


def test_templates_are_faces_that_wear_the_attribute():
    nets = make_networks(config(semantic="template"))
    assert nets.templates.shape == (2, 32, 32, 3)
    _, template = nets.fusion_inputs(faces(0, 1), jnp.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    np.testing.assert_array_equal(template, nets.templates[[1, 0]])
    rows = np.abs(nets.templates[0] - nets.templates[1]).sum((1, 2))
    assert rows[16:].sum() > 4 * rows[:16].sum()  # a mask and a beard differ in the lower half


def test_offsets_of_several_templates_add_up():
    nets = make_networks(config(semantic="template"))
    params = grown(jax.jit(lambda: nets.init_f(jax.random.key(0)))())
    images, masks, beards = faces(3, 4), np.float32([[0, 1, 0], [0, 0.5, 0]]), np.float32([[0, 0, 1], [0, 0, 0]])
    offset = jax.jit(nets.offset, static_argnums=3)
    both = offset(params, images, masks + beards, 2)
    np.testing.assert_allclose(both, offset(params, images, masks, 1) + offset(params, images, beards, 1), atol=1e-5)
    assert np.abs(offset(params, images, beards, 1)[0]).max() > 1e-3


def test_attributes_without_a_picture_are_refused():
    other = dataclasses.replace(config(semantic="template"), attributes=("none", "hat"))
    with pytest.raises(ValueError, match="there is no picture of hat; set --config.fusion.semantic=label"):
        make_networks(other)


def test_identity_compares_embeddings_of_who_it_is():
    losses = config_lib.LossConfig(identity_of="embeddings")
    nets = make_networks(dataclasses.replace(config(), losses=losses))
    compare = jax.jit(nets.identity_features)
    plain, masked = compare(faces(0, 1, 2, 3)), compare(faces(0, 1, 2, 3, attribute="mask"))
    cosines = np.asarray(plain @ masked.T)
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)
    assert (cosines.argmax(1) == np.arange(4)).all()
    assert make_networks(config()).identity_features(plain) is plain


def test_the_feature_heads_see_the_frozen_networks_at_four_sizes():
    nets = make_networks(tiny.config(discriminator=config_lib.DiscriminatorConfig(64, 8, feature_heads=4)))
    images = faces(0, 1)
    features, layers = jax.jit(lambda x: (nets.features([x[:, ::2, ::2], x]), nets.perceptual(x)))(images)
    assert [x.shape[1] for x in features] == [32, 16, 8, 4]
    position, identity = layers[0], layers[3]  # those of 32×32
    expected = [x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 1e-8) for x in (position, identity)]
    np.testing.assert_allclose(features[0], np.concatenate(expected, -1), rtol=1e-4, atol=1e-4)
    assert make_networks(config()).features(images) == []
