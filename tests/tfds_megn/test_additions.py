from tfds_megn import additions, params


def test_additions_follow_the_other_parameters_and_have_other_names():
    assert params.VARIED_NAMES == (*params.PARAM_NAMES, *additions.ADDITIONS)
    assert len(set(params.VARIED_NAMES)) == len(params.VARIED_NAMES)
