"""Pickles of NVlabs stylegan2 in TensorFlow: arguments of networks, forms that are refused."""

import pytest

from sdgan_jax.importers.pickles import FileError
from tests.importers import files


def test_arguments_of_the_networks_are_read(tmp_path):
    arguments = {"mapping_lrmul": 0.02, "conv_clamp": None}, {"mbstd_group_size": 8, "architecture": "resnet"}
    model = files.read(tmp_path, files.tf_pickle(arguments_g=arguments[0], arguments_d=arguments[1]))
    assert (model.config.generator.mapping_lr_mul, model.config.discriminator.mbstd_group) == (0.02, 8)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: files.tf_pickle(arguments_g={"architecture": "resnet"}),
            "x: architecture is 'resnet'; only 'skip' can be",
        ),
        (
            lambda: files.tf_pickle(arguments_d={"resample_kernel": [1, 2, 1]}),
            "x: its resampling filter is not [1,3,3,1]",
        ),
        (
            lambda: files.tf_pickle(state_d=files.STATE_D | {"b4.fc.weight": files.STATE_D["b4.fc.weight"][:, :-16]}),
            "x: the discriminator does not fit a StyleGAN2; "
            "1 misshaped (4x4/Dense0/weight is [112, 8], expected [128, 8])",
        ),
    ],
)
def test_other_networks_are_refused(tmp_path, make, line):
    with pytest.raises(FileError) as raised:
        files.read(tmp_path, make())
    assert str(raised.value).startswith(f"{tmp_path}/{line}")
