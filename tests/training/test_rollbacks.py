import json

import pytest
from etils import epath

from sdgan_jax.training import rollbacks


def test_rollbacks_are_listed_and_counted(tmp_path):
    workdir = epath.Path(tmp_path)
    assert rollbacks.read(workdir) == 0
    assert rollbacks.add(workdir, "loss is nan at step 4", 2) == 1
    assert rollbacks.add(workdir, "loss is inf at step 9", 8) == 2
    assert rollbacks.read(workdir) == 2
    listed = json.loads((tmp_path / "rollbacks.json").read_text())
    assert listed[1] == {"reason": "loss is inf at step 9", "step": 8}


@pytest.mark.parametrize("text", ["", "[1", "{}"])
def test_a_file_of_another_program_is_refused(tmp_path, text):
    (tmp_path / "rollbacks.json").write_text(text)
    with pytest.raises(ValueError, match="rollbacks.json is not a list of rollbacks; move it away"):
        rollbacks.read(epath.Path(tmp_path))
