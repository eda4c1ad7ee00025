"""Signals that are recorded until a loop checks for them."""

import signal
import subprocess
import sys
import textwrap

import pytest

from sdgan_jax import interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_and_the_second_acts(number, capfd):
    former = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    with interrupts.stop_asked("stopping") as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked()
        assert signal.getsignal(number) is former[number]
    assert {kind: signal.getsignal(kind) for kind in former} == former
    assert capfd.readouterr().err == "\nstopping\n"


@pytest.fixture
def interactive():
    """Python's own action on Ctrl-C; a shell starts background jobs with Ctrl-C ignored."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def test_ctrl_c_twice_stops_at_once(interactive):
    with pytest.raises(KeyboardInterrupt), interrupts.stop_asked() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked()
        signal.raise_signal(signal.SIGINT)


_BUSY = """
    import hashlib
    from sdgan_jax import interrupts
    with interrupts.stop_asked() as asked, interrupts.ending_at_once("nothing is lost") as end:
        if {ended}:
            end()
        print("busy", flush=True)
        if {ended}:
            while not asked(): pass
        else:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # many minutes in C, in which no handler of Python runs
        print("asked", asked(), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ended", [False, True])
def test_a_process_that_has_nothing_to_save_ends_at_once(number, ended):
    program = textwrap.dedent(_BUSY).format(ended=ended)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        assert process.stdout.readline() == "busy\n"
        process.send_signal(number)
        printed, said = process.communicate(timeout=60)
    expected = (0, "asked True\n", "") if ended else (130, "", "\nnothing is lost\n")
    assert (process.returncode, printed, said) == expected
