"""FID from the command line, with Inception in the layout of its public file, beside torch-fidelity's numbers."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from etils import epath

from experiments import evaluate
from sdgan_jax.importers import conversion
from sdgan_jax.metrics import frechet, inception_score, kid
from sdgan_jax.metrics.conventions import CONVENTIONS
from tests.evaluation import small_sets
from tests.importers import metric_states, writer
from tests.nets import torch_packages
from tests.ports import free_port

ROOT = pathlib.Path(__file__).parents[2]
FAKE, REAL = small_sets.pixels(12, side=32, seed=1), small_sets.pixels(10, side=32, seed=2, low=100)


def run(**given):
    """Calls the launcher's `main` with these flags."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS([sys.argv[0], "--out=out"])
    with flagsaver.flagsaver(**given):
        evaluate.main(["evaluate"])


def reference(torch, state, images):
    """Features and logits of torch-fidelity's Inception with these weights; it resizes and scales by itself."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = "inception.pth"
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, path)
    network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=path)
    with torch.no_grad():
        found = network(torch.from_numpy(np.moveaxis(images, -1, 1).copy()))
    return [values.numpy() for values in found]


@pytest.mark.slow
def test_two_folders_by_the_file_of_torch_fidelity(tmp_path, monkeypatch):
    torch = torch_packages.load("torch_fidelity")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    state = metric_states.inception()
    file = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    file.write_bytes(writer.torch_zip(state))
    conversion.read_weights(epath.Path(file), "auto", epath.Path("inception"))
    folders = {"fake": FAKE, "real": REAL}
    for name, images in folders.items():
        small_sets.write_folder(tmp_path / name, images)
    given = {"fake": "fake", "real": "real", "inception": "inception", "metrics": ["fid50k", "kid50k", "is50k"]}
    found = {}
    for convention in CONVENTIONS:
        run(out=convention, convention=convention, **given)
        found[convention] = json.loads((tmp_path / convention / "image_metrics.json").read_text())["metrics"]
        assert found[convention]["fid50k"]["convention"] == convention
    (fake, logits), (real, _) = (reference(torch, state, images) for images in (FAKE, REAL))
    for convention, ddof in (("torch-fidelity", 1), ("nvlabs", 0)):
        expected = frechet.frechet_distance(fake, real, ddof)
        assert found[convention]["fid50k"]["value"] == pytest.approx(expected, rel=1e-3)
    order = [np.random.default_rng(0).permutation(len(images)) for images in (FAKE, REAL)]
    expected = kid.kernel_distance(fake[order[0]], real[order[1]])[0]
    assert found["torch-fidelity"]["kid50k"]["value"] == pytest.approx(expected, rel=1e-3)
    expected = inception_score.inception_score(logits[order[0]])[0]
    assert found["torch-fidelity"]["is50k"]["value"] == pytest.approx(expected, rel=1e-3)
    assert found["clean-fid"]["fid50k"]["value"] != pytest.approx(found["torch-fidelity"]["fid50k"]["value"], rel=1e-3)


@pytest.mark.slow
def test_two_processes_measure_as_one(tmp_path):
    """From the command line, by the shipped classifier; the first process alone writes and speaks."""
    for name, images in (("fake", FAKE), ("real", REAL)):
        small_sets.write_folder(tmp_path / name, images)
    command = [sys.executable, "-m", "experiments.evaluate", "--metrics=classifier_fid50k,classifier_pr9"]
    command += [f"--{name}={tmp_path / name}" for name in ("fake", "real")]
    found = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / f"cache{processes}")}
        address = [f"--coordinator=localhost:{free_port()}", f"--num_processes={processes}"] if processes > 1 else []
        started = [
            subprocess.Popen(
                [*command, f"--out={out}", *address, *([f"--process_id={i}"] if address else [])],
                env=environment,
                cwd=ROOT,
                text=True,
                stdout=subprocess.PIPE,
            )
            for i in range(processes)
        ]
        printed = [process.communicate(timeout=900)[0] for process in started]
        assert [process.returncode for process in started] == [0] * processes
        assert ["classifier_fid50k" in text for text in printed] == [True, False][:processes]
        found.append(json.loads((out / "image_metrics.json").read_text())["metrics"])
    assert found[1]["classifier_fid50k"]["value"] == pytest.approx(found[0]["classifier_fid50k"]["value"], rel=1e-4)
    assert found[1]["classifier_pr9"] == found[0]["classifier_pr9"]
