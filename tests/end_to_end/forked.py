"""Trainings as processes that are forked from one that has the imports, which take most of the time of a start."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

from tests import conftest  # noqa: F401 (its environment is for the processes)

ROOT = pathlib.Path(__file__).parents[2]
_SERVER = """
    import json, os, sys, warnings

    import tensorboardX
    from absl import app
    import experiments.train
    from experiments import launch

    for line in sys.stdin:
        arguments, output, variables = json.loads(line)
        sys.stdout.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jax warns of every fork; no device is open, so no thread is lost
            child = os.fork()
        if not child:
            break
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        os._exit(0)

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND), number)
    os.environ.update(variables)
    sys.argv = ["experiments.train", *arguments]
    launch.run(experiments.train.main)
"""


class Trainings:
    """Starts trainings one after another, each in a process of its own.

    Attributes:
        output: file with what the last one printed.
    """

    def __init__(self, folder):
        """Starts the process that the others are forked from; `folder` takes their output and their data."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "torch.py").write_text("raise ImportError('no torch in these tests')")  # tensorboardX would load it
        self.output = folder / "output.txt"
        self._flags = ["--noevaluate", f"--config.data_dir={folder / 'data'}"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
        environment["XLA_FLAGS"] += " --xla_force_host_platform_device_count=1"
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        command = [sys.executable, "-c", textwrap.dedent(_SERVER)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._server = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)

    def start(self, preset, workdir, *flags, **variables):
        """Starts `experiments.train` as a user does, and returns the number of the process."""
        self.output.write_text("")
        arguments = [f"--config={preset}", f"--workdir={workdir}", *self._flags, *flags]
        self._server.stdin.write(json.dumps([arguments, str(self.output), variables]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def end(self):
        """Waits for the end of the training, and returns its exit code."""
        return int(self._server.stdout.readline())

    def train(self, preset, workdir, *flags, **variables):
        """Trains, and returns the exit code and what was printed."""
        self.start(preset, workdir, *flags, **variables)
        return self.end(), self.output.read_text()

    def __enter__(self):
        """Returns itself."""
        return self

    def __exit__(self, *exception):
        """Ends the process that the others are forked from."""
        self._server.stdin.close()
        self._server.wait()
