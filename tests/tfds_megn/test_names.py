import pytest

from tfds_megn import names
from tfds_megn.megn_dataset_builder import Builder


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("rendered_64", ("rendered_64", "rendered", 64, None)),
        ("megn/rendered_64", ("rendered_64", "rendered", 64, None)),
        ("megn/rendered_32_n600", ("rendered_32_n600", "rendered", 32, 600)),
        ("megn/rendered_64:1.0.0", ("rendered_64", "rendered", 64, None)),
        ("megn/rendered_64_n60:1.0.0", ("rendered_64_n60", "rendered", 64, 60)),
        ("megn/varied_64_n60", ("varied_64_n60", "varied", 64, 60)),
        ("megn/photos_1024", ("photos_1024", "photos", 1024, None)),
        ("megn/rendered_33", ("rendered_33", "rendered", 33, None)),
    ],
)
def test_the_parts_of_a_name(name, parts):
    assert names.parse(name) == names.Name(*parts)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "mnist",
        "megn",
        "megn/",
        "megn/rendered",
        "megn/rendered_",
        "megn/rendered_x",
        "megn/rendered_64_n0",
        "megn/rendered_64_n012",
        "megn/rendered_64_n",
        "megn/rendered_64_60",
        "megn/photos_64_n60",
        "other/rendered_64",
        "megn/megn/rendered_64",
        " megn/rendered_64",
        "lsun/photos_64",
    ],
)
def test_other_names_have_none(name):
    assert names.parse(name) is None


def test_the_configs_of_the_builder_are_those_of_the_grammar():
    configs = [name for source, sizes in names.SIZES.items() for name in (f"{source}_{size}" for size in sizes)]
    assert list(Builder.builder_configs) == configs
    for name in configs:
        config, parsed = Builder.builder_configs[name], names.parse(name)
        assert (config.source, config.resolution) == (parsed.source, parsed.resolution)
    counted = Builder.get_builder_config("rendered_64_n2000")
    assert (counted.name, counted.resolution, counted.num_images) == ("rendered_64_n2000", 64, 2000)
    for name in (
        "rendered_65_n2000",
        "varied_32_n2000",
        "rendered_64_n10000",
        "megn/rendered_64_n2000",
        "photos_64_n60",
    ):
        assert Builder.get_builder_config(name) is None, name


@pytest.mark.parametrize(("resolution", "name"), [(8, "rendered_32"), (128, "rendered_128"), (1024, "rendered_256")])
def test_the_nearest_size(resolution, name):
    assert names.nearest_rendered(resolution) == name


def test_numbers_of_absurd_length_are_no_name():
    assert names.parse("rendered_" + "6" * 5000) is None and names.parse("rendered_64_n" + "6" * 5000) is None
