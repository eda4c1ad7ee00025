"""Cases of the edit benchmark: which persons are in which seed, and photos by their labels."""

import numpy as np
import pytest
from PIL import Image

import tfds_megn
from sdgan_jax.data import rendered
from sdgan_jax.evaluation import edit_cases

NAMES = ("none", "mask", "beard")


def split(people):
    params = np.stack([tfds_megn.sample_params(person, variant) for variant, person in enumerate(people)])
    blank = np.zeros((len(people), 8, 8, 3), np.uint8)
    return rendered.Faces(blank, np.zeros(len(people), np.int32), np.array(people, np.int32), params)


def test_each_seed_has_its_own_persons_in_the_order_of_the_split():
    faces = split([9, 3, 9, 5, 7, 3, 1, 8, 6])
    assert edit_cases.first_photographs(faces).tolist() == [0, 1, 3, 4, 6, 7, 8]
    cases = edit_cases.rendered_cases(faces, NAMES, 100, 16)
    assert [[case.name for case in part] for part in cases] == [["mask", "beard", "no mask", "no beard"]] * 3
    for part, rows, others in zip(cases, ([0, 1], [3, 4], [6, 7]), ([3, 4], [6, 7], [0, 1]), strict=True):
        for case in part:
            plain, worn = (tfds_megn.render(faces.params[rows], name, 16) for name in ("none", case.attribute))
            before, after = (worn, plain) if case.removes else (plain, worn)
            np.testing.assert_array_equal(case.sources, before)
            np.testing.assert_array_equal(case.truths, after)
            np.testing.assert_array_equal(case.references, tfds_megn.render(faces.params[others], case.target, 16))
    assert part[0].sources is part[1].sources  # so that the faces are encoded once


def test_weights_put_on_and_take_off():
    nothing = np.zeros((2, 8, 8, 3), np.uint8)
    on, off = (edit_cases.Case("beard", removes, nothing, None, nothing) for removes in (False, True))
    np.testing.assert_array_equal(on.weights(NAMES), [[0, 0, 1]] * 2)
    np.testing.assert_array_equal(off.weights(NAMES), [[0, 0, -1]] * 2)
    assert (on.target, off.target) == ("beard", "none")


@pytest.mark.parametrize(
    ("persons", "message"),
    [(100, "there are 4 persons in the test split; at least 6"), (3, r"there are 3 persons to edit \(num_images\)")],
)
def test_too_few_persons_are_refused(persons, message):
    with pytest.raises(ValueError, match=message):
        edit_cases.rendered_cases(split([1, 2, 3, 4]), NAMES, persons, 8)


def photo(path, level):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((20, 16, 3), level, np.uint8)).save(path)


def test_photos_are_sorted_by_their_labels(tmp_path, capsys):
    for level in (10, 20, 30):
        photo(tmp_path / "none" / f"{level}.png", level)
    for level in (110, 120):
        photo(tmp_path / "mask" / f"{level}.png", level)
    photo(tmp_path / "beard" / "one.png", 200)
    (tmp_path / "beard" / "broken.png").write_bytes(b"nothing")
    cases = edit_cases.photo_cases(tmp_path, NAMES, 8)
    assert [(case.name, case.sources[:, 0, 0, 0].tolist()) for case in cases] == [
        ("mask", [10, 20, 30]),
        ("beard", [10, 20, 30]),
        ("no mask", [110, 120]),
    ]
    assert [case.references[:, 0, 0, 0].tolist() for case in cases] == [[110, 120], [], [10, 20, 30]]
    assert all(case.truths is None and case.sources.shape[1:] == (8, 8, 3) for case in cases)
    lines = capsys.readouterr().err.splitlines()
    assert any("broken.png" in line for line in lines)
    assert [line for line in lines if "not used" in line] == [
        "photos not used, labelled beard, of which 2 are needed: 1"
    ]


def test_photos_that_are_not_used_are_counted_by_reason(tmp_path, capsys):
    """Two masks, one beard, both on three photos, and four pairs of sunglasses, which the model does not know."""
    worn = {"mask": 2, "beard": 1, "mask,beard": 3, "sunglasses": 4, "": 2}
    rows = ["file,mask,beard,sunglasses"]
    for names, count in worn.items():
        for _ in range(count):
            name = f"all/{len(rows)}.png"
            photo(tmp_path / name, 10 * len(rows))
            bits = [str(int(known in names.split(","))) for known in ("mask", "beard", "sunglasses")]
            rows.append(",".join([name, *bits]))
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    cases = edit_cases.photo_cases(tmp_path, NAMES, 8)
    assert [(case.name, len(case.sources)) for case in cases] == [("mask", 2), ("beard", 2), ("no mask", 2)]
    assert {line for line in capsys.readouterr().err.splitlines() if "not used" in line} == {
        "photos not used, with several attributes: 3",
        "photos not used, labelled sunglasses, which the model does not know: 4",
        "photos not used, labelled beard, of which 2 are needed: 1",
    }


def test_photos_with_several_attributes_are_not_used(tmp_path):
    rows = ["file,mask,beard"]
    for index in range(3):
        photo(tmp_path / "all" / f"{index}.png", 10 * index)
        rows.append(f"all/{index}.png,1,1")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match="no label has 2 photos of its own"):
        edit_cases.photo_cases(tmp_path, NAMES, 8)
